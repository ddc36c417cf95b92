"""No credential is seen anywhere: output, events, plan, state, store, exceptions and process titles."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fleet import Fleet
from tests.servers import Authority, nginx, squid
from tests.tufrepo import Vendor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack
pytestmark = pytest.mark.needs("nginx", "squid", "openssl")
PROXY_WORD, SITE_WORD, URL_WORD = "first-word-4711", "second-word-4712", "third-word-4713"
WORDS = (PROXY_WORD, SITE_WORD, URL_WORD)


@pytest.fixture
def fleet(tmp_path: Path, stack: ExitStack[bool | None]) -> Fleet:
    """A fleet whose source wants a password, behind a proxy that wants another, over TLS."""
    vendor = Vendor(tmp_path / "web", datetime.now(UTC))
    vendor.add("rules", "1", {"all.rules": b"one" * 400_000})
    vendor.sign()
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.sign("localhost", "127.0.0.1")
    tls = f"ssl_certificate {certificate}; ssl_certificate_key {key};"
    (tmp_path / "users").write_text(f"joe:{{PLAIN}}{SITE_WORD}\n")
    rules = f"auth_basic x; auth_basic_user_file {tmp_path}/users;"
    url = stack.enter_context(nginx(tmp_path / "nginx", vendor.folder, tls=tls, rules=rules))
    port = stack.enter_context(squid(tmp_path / "squid", user="ann", password=PROXY_WORD))
    folder = tmp_path / "site"
    folder.mkdir()
    shutil.copy(vendor.metadata / "1.root.json", folder / "root.json")
    shutil.copy(authority.certificate, folder / "ca.pem")
    source = {
        "name": "vendor",
        "type": "tuf",
        "url": url,
        "trusted_root": "root.json",
        "ca": "ca.pem",
        "proxy": "egress",
        "username": "joe",
        "password": {"env": "SITE_WORD"},
        "limit": "600KB/s",
    }
    egress = {"url": f"http://127.0.0.1:{port}", "username": "ann", "password": {"env": "PROXY_WORD"}}
    return Fleet(folder, clients=1, sources=[source], proxies={"egress": egress})


def environment(**more: str) -> dict[str, str]:
    return {"SITE_WORD": SITE_WORD, "PROXY_WORD": PROXY_WORD, **more}


def titles() -> Iterator[str]:
    """Give the command lines of all processes; a process that is gone meanwhile has none."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


def test_no_credential_is_in_anything_that_is_written_or_shown(fleet: Fleet) -> None:
    process = fleet.start("apply", "--auto-approve", "--events", "events.jsonl", **environment(UPDOSER_DEBUG="1"))
    seen: list[str] = []
    while process.poll() is None:
        seen += titles()
        time.sleep(0.1)
    seen += process.communicate()
    assert process.returncode == 0, seen[-1]
    for command in (
        ("plan", "--out", "plan.json"),
        ("plan", "--format", "json", "--diff"),
        ("status", "--format", "json", "--refresh"),
        ("history",),
        ("validate", "--effective", "sources"),
        ("validate", "--effective", "proxies"),
    ):
        done = fleet.run(*command, **environment())
        assert done.code == 0, done.err
        seen += [done.out, done.err]
    seen += [path.read_bytes().decode("latin-1") for path in fleet.folder.rglob("*") if path.is_file()]
    assert len(seen) > 20
    for text in seen:
        assert not any(word in text for word in WORDS), text[:2000]


@pytest.mark.parametrize("broken", ["SITE_WORD", "PROXY_WORD"])
def test_no_credential_is_in_an_error(fleet: Fleet, broken: str) -> None:
    done = fleet.run("apply", "--auto-approve", **environment(UPDOSER_DEBUG="1", **{broken: URL_WORD}))
    assert "wants other credentials" in done.out
    seen = [
        done.out,
        done.err,
        *(path.read_bytes().decode("latin-1") for path in fleet.folder.rglob("*") if path.is_file()),
    ]
    assert not any(word in text for text in seen for word in WORDS)


def test_the_proxy_of_the_environment_counts_only_where_the_spec_says_so(fleet: Fleet) -> None:
    port = fleet.spec["proxies"]["egress"]["url"].rpartition(":")[2]
    theirs = {"https_proxy": f"http://ann:{PROXY_WORD}@127.0.0.1:{port}"}
    (source,) = fleet.spec["sources"]
    fleet.write(sources=[{**source, "proxy": "environment"}], proxies={})
    done = fleet.run("plan", SITE_WORD=SITE_WORD, **theirs)
    assert "full from vendor via environment" in done.out, done.out + done.err
    wrong = {"https_proxy": f"http://ann:{URL_WORD}@127.0.0.1:{port}"}
    refused = fleet.run("plan", SITE_WORD=SITE_WORD, **wrong)
    assert "the proxy environment wants other credentials" in refused.out
    assert URL_WORD not in refused.out + refused.err
    fleet.write(sources=[{key: value for key, value in source.items() if key != "proxy"}])
    dead = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9", "all_proxy": "http://127.0.0.1:9"}
    assert "full from vendor  missing" in fleet.run("plan", SITE_WORD=SITE_WORD, **dead).out
