"""Debian's freshclam, fed from a mirror of ours behind nginx, with the kinds of files that it takes from others."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.clam_files import database as plain_database
from tests.fleet import Fleet
from tests.real.test_real_clamav import EICAR, good, signature
from tests.servers import nginx, requests
from tests.waiting import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.needs("freshclam", "clamscan", "sigtool", "nginx")

DOCS = Path(__file__).parents[2] / "docs/publishing.md"
CATALOG = """\
version: 1
name: clamav
components:
  - {id: local, name: Signatures of our own, kind: pattern, version_scheme: integer}
  - {id: signed, name: A database of ClamAV, kind: pattern, version_scheme: integer}
"""


class Mirror(Fleet):
    """A server without clients that publishes what is dropped into its folder for freshclam."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, groups={})
        (folder / "catalog.yaml").write_text(CATALOG)
        self.write(repository={"path": "mirror", "layout": "clamav"})

    def publishes(self, component: str, version: int, **files: bytes) -> None:
        self.release(component, str(version), **files)
        done = self.apply()
        assert done.code == 0, done.err


class Client:
    """A machine with freshclam, which asks for files of ours by their addresses."""

    def __init__(self, folder: Path, url: str, *names: str) -> None:
        self.databases = folder / "databases"
        self.databases.mkdir()
        (folder / "freshclam.conf").write_text(
            "\n".join(
                [
                    f"DatabaseDirectory {self.databases}",
                    f"DatabaseOwner {pwd.getpwuid(os.getuid()).pw_name}",
                    f"PrivateMirror {url}",
                    "ReceiveTimeout 60",
                    *(f"DatabaseCustomURL {url}/{name}" for name in names),
                    "",
                ]
            )
        )
        self._command = ["freshclam", f"--config-file={folder}/freshclam.conf", "--stdout", "--foreground"]

    def update(self) -> str:
        done = subprocess.run(
            [*self._command, "--update-db=custom"], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def detects(self, folder: Path) -> str:
        (folder / "eicar").write_bytes(EICAR)
        scan = ["clamscan", "--no-summary", "-d", str(self.databases), str(folder / "eicar")]
        return subprocess.run(scan, capture_output=True, text=True, timeout=PATIENCE, check=False).stdout


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    return Mirror(tmp_path)


@pytest.fixture
def url(tmp_path: Path, mirror: Mirror) -> Iterator[str]:
    """Serve the mirror by the rules that the docs give."""
    block = re.search(r"```nginx\n(server \{[^`]*mirror/clamav[^`]*)```", DOCS.read_text(encoding="utf-8"))
    assert block
    rules = re.sub(
        r"(listen|server_name|root) [^;]*;", "", block[1].removeprefix("server {").rstrip().removesuffix("}")
    )
    root = mirror.folder / "mirror"
    with nginx(tmp_path / "nginx", root, server=f"root {root};\n{rules}\n") as found:
        yield found


def answers(folder: Path) -> list[str]:
    """Give path and status of what was asked of nginx, and forget it."""
    lines = [line.split('"') for line in requests(folder / "nginx")]
    (folder / "nginx/access.log").write_text("")
    return sorted(f"{asked.split()[1]} {status.split()[0]}" for _who, asked, status, *_rest in lines)


def test_freshclam_fetches_what_is_new_and_nothing_else(tmp_path: Path, mirror: Mirror, url: str) -> None:
    def local(version: int) -> dict[str, Any]:
        lines = signature(f"Own-{version}"), "44d88612fea8a8f36de82e1278abb02f:68:Own-Hash"
        return {"own_ndb": f"{lines[0]}\n".encode(), "own_hdb": f"{lines[1]}\n".encode()}

    mirror.publishes("local", 1, **local(1))
    mirror.publishes("signed", 7, eicar_cud=good(tmp_path, 7))
    client = Client(tmp_path, url, "own.ndb", "own.hdb", "eicar.cud")
    client.update()
    assert {path.name for path in client.databases.iterdir()} >= {"own.ndb", "own.hdb", "eicar.cud"}
    assert answers(tmp_path) == ["/eicar.cud 200", "/own.hdb 200", "/own.ndb 200"]
    client.update()
    assert answers(tmp_path) == ["/eicar.cud 304", "/own.hdb 304", "/own.ndb 304"]
    newest = max(path.stat().st_mtime for path in client.databases.iterdir())
    until(lambda: int(time.time()) > int(newest))  # HTTP knows no parts of a second
    mirror.publishes("local", 2, **local(2))
    client.update()
    assert answers(tmp_path) == ["/eicar.cud 304", "/own.hdb 304", "/own.ndb 200"]
    assert "Own-2" in client.detects(tmp_path)
    assert " 0 downloads" in mirror.apply().out


def test_a_web_server_answers_for_a_mirror_as_freshclam_wants_it(tmp_path: Path, mirror: Mirror, url: str) -> None:
    mirror.publishes("signed", 27001, daily_cvd=plain_database(27001))

    def ask(name: str, **headers: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(urllib.request.Request(f"{url}/{name}", headers=headers)) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, b""

    assert ask("daily.cvd", Range="bytes=0-511") == (206, plain_database(27001)[:512])
    assert ask("daily.cld") == (404, b"")
    assert ask("daily-27001.cdiff") == (404, b"")
    assert ask("dns.txt")[1].split(b":")[2] == b"27001"
