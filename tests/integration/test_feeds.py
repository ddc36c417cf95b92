"""The fleets with rules that people run, as they stand on their page, word for word.

Hosts and folders are variables, or stand in the presets of bundled catalogs, of which there is a copy with other paths.

`suricata` has no package here: a stand-in reads rules as it does, as far as that goes (a rule begins with an action).
`yarac` is Debian's.
"""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.fleet import Fleet
from tests.materials import Gpg
from tests.pages import example, with_catalog
from tests.vendor_site import GitHub, tarball

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.fleet import Done

DAY = datetime.now(UTC).replace(microsecond=0) - timedelta(days=3)
SENSOR, WALL = "/var/lib/suricata/rules", "/etc/nginx/modsec/crs"
"""Where the presets put rules."""
CALLED = """#!/bin/sh
printf '%s\\n' "$*" >>'{calls}'
"""
SURICATA = """
for word; do rules=$word; done
for file in $rules; do
  if grep -vE '^(#|$|alert |drop |pass |reject )' "$file" >&2; then
    echo "E: detect: error parsing signature" >&2
    exit 1
  fi
done
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[GitHub]:
    with GitHub(tmp_path) as site:
        yield site


class Page:
    """A fleet that an example of the page makes: `-e` gives what its variables are here.

    `there` is where the preset of its catalog puts rules; `commands` are those of it that aren't run here.
    """

    def __init__(self, folder: Path, name: str, variables: Mapping[str, str], there: str = "", **commands: str) -> None:
        self.rules = folder / "rules"
        self.rules.mkdir()
        text = example(f"spec:{name}").text
        replaced = {f"to: {there},": f"to: {self.rules},"} if there else {}
        (folder / "updoser.yaml").write_text(with_catalog(text, folder, {**replaced, **commands}))
        self.given = [
            word for pair in {"rules": str(self.rules), **variables}.items() for word in ("-e", "=".join(pair))
        ]
        self.fleet = Fleet.__new__(Fleet)
        self.fleet.folder = folder

    def forget(self) -> None:
        """Have nothing keep the next look from asking: `interval` is for vendors."""
        for folder in self.fleet.folder.rglob("documents"):
            for path in folder.iterdir():
                path.unlink()

    def apply(self, **environment: str) -> Done:
        return self.fleet.run("apply", "--auto-approve", *self.given, **environment)

    def converges(self, **environment: str) -> None:
        done = self.apply(**environment)
        assert done.code == 0, done.out + done.err
        again = self.fleet.run("plan", "--detailed-exitcode", *self.given, **environment)
        assert again.code == 0, again.out + again.err

    def installed(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.rules.iterdir() if path.is_file()}


def rules_of(site: GitHub, version: str, **files: bytes) -> None:
    named = {f"rules/{name}.rules": content for name, content in files.items()}
    site.put("open/version.txt", f"{version}\n")
    site.put("open/emerging.rules.tar.gz", gzip.compress(tarball({**named, "rules/LICENSE": b""}), mtime=0), DAY)


def test_rules_of_suricata_reach_sensors_unless_suricata_cannot_read_them(site: GitHub, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    (tmp_path / "bin").mkdir()
    for name, text in {"suricata": SURICATA, "suricatasc": ""}.items():
        (tmp_path / "bin" / name).write_text(CALLED.format(calls=calls) + text)
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    page = Page(tmp_path, "suricata", {"open": f"{site.url}/open", "sslbl": f"{site.url}/sslbl"}, SENSOR)
    rules_of(site, "10512", malware=b"alert tcp any any\n")
    sslbl = gzip.compress(tarball({"sslblacklist_tls_cert.rules": b"alert tls any any\n"}), mtime=0)
    site.put("sslbl/sslblacklist_tls_cert.tar.gz", sslbl, DAY)
    page.converges(**environment)
    good = {"malware.rules": b"alert tcp any any\n", "sslblacklist_tls_cert.rules": b"alert tls any any\n"}
    assert page.installed() == good
    said = calls.read_text()
    assert "-T -l /tmp -S" in said
    assert "-c reload-rules" in said

    rules_of(site, "10513", malware=b"allert tcp any any\n")
    page.forget()
    done = page.apply(**environment)
    assert done.code != 0
    assert "check parses failed before the switch" in done.out + done.err
    assert "error parsing signature" in done.out + done.err
    assert page.installed() == good


@pytest.mark.needs("gpg", "gpgv", "gpgconf")
def test_the_core_rule_set_comes_from_a_forge_when_its_key_signed_it(site: GitHub, tmp_path: Path) -> None:
    gpg = Gpg(tmp_path / "gnupg")
    key, stranger = gpg.new("security@coreruleset.example"), gpg.new("mallory@example.org")
    (tmp_path / "trust").mkdir()
    gpg.export(tmp_path / "trust/crs.gpg", key)
    page = Page(
        tmp_path, "crs", {"forge": site.url}, WALL, **{"nginx -t && nginx -s reload": f"touch {tmp_path}/reloaded"}
    )

    def release(version: str, content: bytes, signer: str) -> None:
        top = f"coreruleset-{version}"
        files = {f"{top}/rules/a.conf": content, f"{top}/rules/a.data": b"d", f"{top}/crs-setup.conf.example": b"s"}
        place = tmp_path / f"{top}-minimal.tar.gz"
        place.write_bytes(gzip.compress(tarball({**files, f"{top}/LICENSE": b""}), mtime=0))
        signature = gpg.sign(place, signer).read_bytes()
        assets = {place.name: place.read_bytes(), f"{place.name}.asc": signature}
        site.release("coreruleset/coreruleset", f"v{version}", assets)

    release("4.25.0", b"SecRule 1", key)
    page.converges()
    good = {"a.conf": b"SecRule 1", "a.data": b"d", "crs-setup.conf.example": b"s"}
    assert page.installed() == good
    assert (tmp_path / "reloaded").exists()

    release("4.25.1", b"SecRule 2", stranger)
    page.forget()
    done = page.apply()
    assert "crs 4.25.1: coreruleset-4.25.1-minimal.tar.gz can't be verified" in done.out + done.err
    assert page.installed() == good
    gpg.close()


@pytest.mark.needs("yarac")
def test_rules_of_yara_come_by_the_week_unless_yarac_refuses_them(site: GitHub, tmp_path: Path) -> None:
    page = Page(tmp_path, "yara", {"forge": site.url})

    def release(day: str, content: bytes) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("packages/core/yara-rules-core.yar", content)
            archive.writestr("packages/core/README.md", b"")
        site.release("YARAHQ/yara-forge", day, {"yara-forge-rules-core.zip": packed.getvalue()})

    release("20261122", b'rule test { strings: $a = "test" condition: $a }\n')
    page.converges()
    good = {"yara-rules-core.yar": b'rule test { strings: $a = "test" condition: $a }\n'}
    assert page.installed() == good

    release("20261129", b"rule test { condition: $b }\n")
    page.forget()
    done = page.apply()
    assert done.code != 0
    assert 'undefined string "$b"' in done.out + done.err
    assert page.installed() == good
