"""Secrets of settings at a site: the controller renders them, the client has them, and nobody on the way reads them."""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.formats.sealed import new_key
from tests.fleet import Fleet
from tests.integration.test_sites_end_to_end import at_broker, worker_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.rabbitmq import RabbitMQ

pytestmark = [pytest.mark.needs("rabbitmq-server", "epmd", "openssl"), pytest.mark.xdist_group("rabbitmq")]

SECRET = b"swordfish-of-the-agents"
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{16,}=*")


def fleet_with_a_secret(folder: Path, broker: RabbitMQ, public: str) -> Fleet:
    """Give a fleet of one client at a site, which has a file with a secret in it."""
    folder.mkdir()
    setting = {
        "template": "agent.conf.j2",
        "path": str(folder / "clients" / "agent.conf"),
        "secrets": {"token": {"file": "agent-token"}},
    }
    group = {
        "transport": {"type": "local"},
        "install_root": "clients",
        "clients": [{"name": "c1", "install_root": str(folder / "clients" / "c1")}],
        "settings": [setting],
    }
    site = {"groups": ["lyon"], "executor": {**at_broker(broker), "seal_key": public}}
    fleet = Fleet(folder, groups={"lyon": group}, sites={"lyon": site})
    (folder / "clients").mkdir()
    (folder / "agent.conf.j2").write_text("token = {{ secret.token }}\n")
    (folder / "agent-token").write_bytes(SECRET)
    fleet.release("rules", "1", rules_db=b"rules" * 1000)
    return fleet


def with_key(broker: RabbitMQ, folder: Path, private: str) -> dict[str, Any]:
    """Give a station that opens secrets with a key."""
    (folder / "seal.key").write_text(f"{private}\n")
    return {**broker.station("lyon"), "seal_key": {"file": str(folder / "seal.key")}}


def readings(body: bytes, depth: int = 4) -> Iterator[bytes]:
    """Give whatever can be read out of a message without a key: as it is, unpacked, and what base64 in it says."""
    yield body
    if not depth:
        return
    with suppress(zlib.error):
        yield from readings(zlib.decompress(body), depth - 1)
    for found in _BASE64.findall(body):
        try:
            yield from readings(base64.b64decode(found, validate=True), depth - 1)
        except binascii.Error:
            continue


def has(bodies: Iterable[bytes], word: bytes) -> bool:
    """Say whether a word can be read in one of these."""
    return any(word in reading for body in bodies for reading in readings(body))


def files(*folders: Path) -> list[bytes]:
    """Give what all files below folders hold."""
    return [path.read_bytes() for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]


def test_a_secret_of_settings_is_at_the_client_and_can_be_read_nowhere_on_the_way(
    broker: RabbitMQ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPDOSER_DEBUG", "1")  # whatever there is to be said is said
    private, public = new_key()
    fleet = fleet_with_a_secret(tmp_path / "fleet", broker, public)
    with broker.traced() as bodies, worker_at("lyon", broker, fleet, station=with_key(broker, tmp_path, private)):
        done = fleet.apply("--format", "json")
        assert done.code == 0, done.err
        conf = tmp_path / "fleet" / "clients" / "agent.conf"
        assert conf.read_bytes() == b"token = " + SECRET + b"\n"
        again = fleet.apply()
        assert "No changes" in again.out, again.out + again.err
    assert has(bodies, b"agent.conf")  # so it would be found
    assert not has(bodies, SECRET)
    assert not has(files(broker.folder, tmp_path / "fleet" / "at-lyon", tmp_path / "fleet" / "store"), SECRET)
    state = [path.read_bytes() for path in (tmp_path / "fleet").glob("state.db*")]
    assert state
    assert not has(state, SECRET)
    assert not has([text.encode() for text in (done.out, done.err, again.out, again.err)], SECRET)


def test_a_client_whose_site_has_another_key_failed_for_that_reason_until_the_right_one_is_there(
    broker: RabbitMQ, tmp_path: Path
) -> None:
    private, public = new_key()
    fleet = fleet_with_a_secret(tmp_path / "fleet", broker, public)
    with worker_at("lyon", broker, fleet, station=with_key(broker, tmp_path, new_key()[0])):
        done = fleet.apply("--format", "json")
    assert done.code == 3, done.err
    (failed,) = done.json["failed"]
    assert (failed["client"], failed["reason"]) == ("c1", "worker")
    assert failed["message"] == (
        "no worker: no worker could do it, 3 times: a worker at the site lyon can't read it: secrets of settings "
        "can't be opened with its `seal_key`: it isn't sealed for this worker and this batch"
    )
    with worker_at("lyon", broker, fleet, station=with_key(broker, tmp_path, private)):
        assert fleet.apply().code == 0
        assert SECRET in (tmp_path / "fleet" / "clients" / "agent.conf").read_bytes()
        assert "No changes" in fleet.apply().out
