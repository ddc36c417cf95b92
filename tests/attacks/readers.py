"""Readers of what others wrote, each with inputs that are right: what is made of those by mutation is fed to them.

A reader takes bytes. It gives something, or raises what `Reader.errors` names: an error of updoser, or the one that its
docstring promises to a caller that maps it.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.client.facts import read_facts
from reconciler.client.protocol import read_content, read_outcomes
from reconciler.contracts import Completed
from reconciler.errors import UpdoserError
from reconciler.formats.duration import parse_duration
from reconciler.formats.incremental_json import parse_incremental
from reconciler.formats.index import index_document, parse_index
from reconciler.formats.known_hosts import KnownHosts
from reconciler.formats.select import parse as parse_pattern
from reconciler.model.client import Installed, Profile
from reconciler.model.delta import Incremental, Kept, Patch
from reconciler.model.deploy import Step
from reconciler.model.network import parse_address
from reconciler.model.settings import to_do, unpack
from reconciler.model.version import SCHEMES
from reconciler.planner.thresholds import parse_conditions
from reconciler.plugins.inventory._ssh_options import SshOptions, UnfitError
from reconciler.plugins.inventory.command import parse_inventory
from reconciler.plugins.source._folder.release_yaml import parse_release_facts
from reconciler.plugins.source._folder.sums import parse_sums
from reconciler.plugins.transport._ssh_keys import parse_key
from reconciler.present.reading import read_plan
from reconciler.repository.signing import read_private, read_public, read_root
from reconciler.specfile.reader import parse as parse_yaml
from reconciler.storage.cells import checked
from reconciler.storage.manifest import incremental_document, read_incremental, read_release, release_document
from reconciler.storage.manifests import read_document as manifest_of
from reconciler.storage.planfile import read_plan_file
from reconciler.web.answer import no_file, no_json, part_of
from reconciler.web.cooldown import Cooldown, waiting_time
from tests.fakes import make_release

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ROOT = Path(__file__).parents[2]
DIGEST, OTHER = "a" * 64, "b" * 64
RELEASE = make_release("rules", "2", {"all.rules": b"x" * 100, "more": b"y"})
INCREMENTAL = Incremental(
    component="rules",
    platform="any",
    from_version="1",
    from_digest=OTHER,
    to_version="2",
    to_digest=RELEASE.digest,
    codec="zstd",
    patches=(Patch("all.rules", 10, DIGEST, "zstd", OTHER, 100),),
    kept=(Kept("more", OTHER),),
)
STEPS = (
    Step(
        component="rules",
        from_version="",
        from_digest="",
        to_version="2",
        to_digest=RELEASE.digest,
        files=RELEASE.files,
    ),
)
FACTS = f"""updoser 1 facts
platform Linux x86_64
began 100 3.5
free 1024
machine f86b8fe1-5b1f-4f4c-9c3a-0d3c1c0b2a11 65024:7 x
tool zstd
selinux 0
memory 2048
controller abc 3
installed rules 1 {DIGEST} - l x
kept rules 0.9 {DIGEST}
unmanaged /opt/x y
end
"""


NAMES = (
    "client: facts",
    "client: outcomes",
    "client: contents",
    "SHA256SUMS",
    "index",
    "release.yaml",
    "incremental.json",
    "TUF root",
    "headers",
    "CSV",
    "inventory JSON",
    "known_hosts",
    "private keys of SSH",
    "private keys of repositories",
    "public keys",
    "plan files",
    "state: profiles",
    "store: releases",
    "store: incrementals",
    "options of ssh",
    "cooldowns",
    "YAML of specs",
    "short values",
)


@dataclass(frozen=True)
class Reader:
    """What reads, and inputs that it takes; `errors` are those that it may raise."""

    read: Callable[[bytes], object]
    samples: tuple[bytes, ...]
    errors: tuple[type[Exception], ...] = (UpdoserError,)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


def _answered(read: Callable[[Completed], object]) -> Callable[[bytes], object]:
    return lambda data: read(Completed(0, data, data[:100]))


def _headers(data: bytes) -> object:
    lines = (line.partition(":") for line in data.decode("latin-1").split("\n"))
    headers = {name.strip().title(): value for name, _colon, value in lines}
    return part_of(headers), no_file(headers), no_json(headers, data), waiting_time(headers.get("Retry-After"), NOW)


def _values(data: bytes) -> object:
    """Read the texts of specs and options, which are short: each by all that may be asked to."""
    text = _text(data)[:200]
    found: list[object] = [parse_address(text), unpack(text), to_do("a:1", text)]
    for read in (parse_duration, parse_conditions, parse_pattern, *(scheme.parse for scheme in SCHEMES.values())):
        try:
            found.append(read(text))
        except (ValueError, UpdoserError):
            continue
    return found


def _known_hosts(data: bytes) -> object:
    hosts = KnownHosts(_text(data))
    return [hosts.judge(name, "ssh-ed25519", "AAAA") for name in ("a.example", "[a.example]:2222", "192.0.2.1")]


def _options(data: bytes) -> object:
    options = SshOptions()
    options.read("ansible_ssh_common_args", _text(data))
    return options.keys, options.jump


def _state_profile(data: bytes) -> object:
    return checked(Profile.from_json(_text(data)))


def readers(folder: Path) -> dict[str, Reader]:
    """Give all readers; those of files get theirs in a folder."""
    file = folder / "input"

    def written(read: Callable[[Path], object]) -> Callable[[bytes], object]:
        def of_file(data: bytes) -> object:
            file.write_bytes(data)
            return read(file)

        return of_file

    def cooled(path: Path) -> None:
        Cooldown(path, lambda: NOW, logging.getLogger("tests.quiet")).check()

    def a_plan(path: Path) -> object:
        return read_plan(read_plan_file(path).document)

    def a_csv(path: Path) -> object:
        from reconciler.plugins.inventory.csv import PLUGIN
        from tests.fakes import fake_context

        return list(PLUGIN({"path": path.name}, fake_context(folder)).clients())

    def spec(data: bytes) -> object:
        return parse_yaml(data, [], "updoser.yaml", folder)

    keys = tuple(path.read_bytes() for path in sorted(folder.glob("key*")))
    profile = Profile(
        "linux-x86_64",
        (Installed("rules", "1", DIGEST, previous="0.9", layout="l", damage="", kept=(("0.9", DIGEST),)),),
        tools=("zstd",),
    )
    inventory = {
        "all": {"hosts": ["a"], "children": ["web"], "vars": {"x": 1, "ansible_port": 22}},
        "web": ["b", "c"],
        "_meta": {"hostvars": {"a": {"ansible_host": "192.0.2.1", "ansible_ssh_common_args": "-J j@gate:22"}}},
    }
    released = replace(RELEASE, released=NOW - timedelta(days=1), notes="n")
    incremental: dict[str, Any] = {
        "format_version": "1.0",
        "component": "rules",
        "from": {"version": "1", "digest": OTHER},
        "to": {"version": "2", "digest": RELEASE.digest},
        "files": [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in RELEASE.files],
    }
    incremental["files"][0]["delta"] = {"codec": "zstd", "size": 10, "sha256": DIGEST}
    promised = (ValueError,)
    odd = (ValueError, KeyError, TypeError, AttributeError, RecursionError)  # storage/cells.py makes one error of these
    example = ROOT / "schema/plan.schema.json"
    plans = tuple(_json(entry) for entry in json.loads(example.read_text()).get("examples", ()))
    tuf = tuple(path.read_bytes() for path in sorted(folder.glob("*.root.json")))
    return {
        "client: facts": Reader(_answered(read_facts), (FACTS.encode(),)),
        "client: outcomes": Reader(
            _answered(lambda done: read_outcomes(done, STEPS)),
            (
                f"updoser 1 outcomes\nrules changed 2 {RELEASE.digest} fine\nend\n".encode(),
                b"updoser 1 outcomes\nrules failed - - no room\n1 disk\nend\n",
            ),
        ),
        "client: contents": Reader(
            _answered(lambda done: read_content(done, ["/etc/a"])), (b"updoser 1 content\nfile 1\n 61 0a\nend\n",)
        ),
        "SHA256SUMS": Reader(
            lambda data: list(parse_sums(data)),
            (f"{DIGEST}  all.rules\n{OTHER} *lpt$vpn.679\n\\{DIGEST}  a\\\\b\n".encode(),),
            promised,
        ),
        "index": Reader(
            lambda data: parse_index(data, "rules"),
            (_json(index_document("rules", [RELEASE], [INCREMENTAL], [])),),
            promised,
        ),
        "release.yaml": Reader(
            parse_release_facts,
            (b'platform: linux-x86_64\nreleased: "2026-11-24T10:00:00Z"\nnotes: |\n  a\n  b\n',),
            promised,
        ),
        "incremental.json": Reader(parse_incremental, (_json(incremental),), promised),
        "TUF root": Reader(written(read_root), tuf),
        "headers": Reader(
            _headers,
            (
                b"Content-Range: bytes 0-9/10\nContent-Length: 10\nRetry-After: 120\nContent-Type: text/html",
                b"Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\nContent-Encoding: gzip",
            ),
        ),
        "CSV": Reader(
            written(a_csv),
            (
                b"name,address,port,user,labels,site\na,192.0.2.1,22,root,x y,berlin\nb,,,,,\n",
                b"sep=;\nname;port\na;1\n",
            ),
        ),
        "inventory JSON": Reader(lambda data: list(parse_inventory(data, "list", folder)), (_json(inventory),)),
        "known_hosts": Reader(
            _known_hosts,
            (
                b"a.example,192.0.2.1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA\n@revoked * ssh-rsa AAAA\n",
                b"|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ssh-rsa AAAA\n",
                b"[*.x]:22,!b ssh-rsa AAAA\n",
            ),
        ),
        "private keys of SSH": Reader(lambda data: parse_key(_text(data), "words", "key"), keys),
        "private keys of repositories": Reader(lambda data: read_private(_text(data), "key"), keys),
        "public keys": Reader(lambda data: read_public(_text(data), "key"), keys),
        "plan files": Reader(written(a_plan), plans),
        "state: profiles": Reader(_state_profile, (profile.to_json().encode(),), odd),
        "store: releases": Reader(
            written(lambda path: read_release(manifest_of(path))), (_json(release_document(released)),), promised
        ),
        "store: incrementals": Reader(
            written(lambda path: read_incremental(manifest_of(path))),
            (_json(incremental_document(INCREMENTAL)),),
            promised,
        ),
        "options of ssh": Reader(
            _options, (b"-o ProxyJump=a@b:22,c -i key -o 'ProxyCommand ssh -W %h:%p gate' -C",), (UnfitError,)
        ),
        "cooldowns": Reader(
            written(cooled),
            (_json({"since": "2026-11-24T10:00:00+00:00", "until": "2026-11-25T10:00:00+00:00", "why": "HTTP 429"}),),
            (UpdoserError,),
        ),
        "YAML of specs": Reader(spec, ((ROOT / "updoser.yaml").read_bytes()[:4000],)),
        "short values": Reader(
            _values,
            (
                b"1h30m",
                b"16.677.00",
                b"2026.11.24",
                b"age>48h,outdated>5%",
                b"a*:&b:!label=x",
                b"[2001:db8::1]:22",
                b"a:1:x b:2:-",
            ),
        ),
    }


# --- mutations --------------------------------------------------------------------------------------------------------

SIGNS = b"\0\xff\n\r\t ,:;-'\"{}[]|\\%/~=&*!@#<>"
PIECES = (
    *(bytes([sign]) for sign in SIGNS),
    *(b"\xed\xa0\x80", b"\xe2\x80\xae", b"\x1b[2J", b"\r\n", b"..", b"&a", b"*a", "\u0661".encode(), "\u00b2".encode()),
    *(b"null", b"true", b"NaN", b"Infinity", b"-1", b"0", b"1e400", b"1e-400", b"9" * 18, b"9" * 400, b"9" * 5000),
    *(b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59-14:00", b"[" * 2000, b'{"a":' * 2000, b"a" * 70_000),
)


def mutated(samples: tuple[bytes, ...], draw: Random) -> bytes:
    """Give an input that was right once, or noise."""
    if draw.random() < 0.05:
        return draw.randbytes(draw.randrange(200))
    data = bytearray(draw.choice(samples))
    for _ in range(draw.choice((1, 1, 2, 3, 8))):
        at = draw.randrange(len(data) + 1)
        end = min(at + draw.choice((0, 1, 1, 4, 20)), len(data))
        match draw.randrange(6):
            case 0:
                data[at:end] = draw.randbytes(end - at)
            case 1:
                data[at:end] = b""
            case 2:
                data[at:end] = draw.choice(PIECES)
            case 3:
                data[at:at] = data[draw.randrange(len(data) + 1) :][: draw.randrange(60)]
            case 4 if data:
                data[at % len(data)] ^= 1 << draw.randrange(8)
            case _:
                _replace_word(data, draw)
    return bytes(data)


def _replace_word(data: bytearray, draw: Random) -> None:
    """Put something else in place of a whole number or word."""
    at = draw.randrange(len(data) + 1)
    end = at
    while end < len(data) and chr(data[end]).isalnum():
        end += 1
    while at > 0 and chr(data[at - 1]).isalnum():
        at -= 1
    data[at:end] = draw.choice(PIECES)
