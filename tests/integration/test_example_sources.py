"""The fleets with signed sources, and the chain of servers, as they stand on their pages: only hosts, ports and waves
are ours."""

from __future__ import annotations

import json
import re
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.fleet import NO_SOAK, Fleet
from tests.pages import example
from tests.servers import Authority, nginx, requests, squid
from tests.tufrepo import Vendor

if TYPE_CHECKING:
    from contextlib import ExitStack

    from tests.fleet import Done

pytestmark = pytest.mark.needs("nginx", "squid", "openssl")
EXAMPLES = Path(__file__).parents[1] / "unit/data/examples"
WORD = "hunter2-secret"
SOON = (datetime.now(UTC) + timedelta(days=3)).date().isoformat()
DAILY = b"a signature of something\n" * 4000


def spec(name: str) -> str:
    return example(f"spec:{name}").text


def site(folder: Path, text: str, name: str = "updoser.yaml") -> Fleet:
    """Make a folder with a spec of a page in it."""
    folder.mkdir(exist_ok=True)
    for catalog in ("clamav", "suricata"):
        shutil.copy(EXAMPLES / f"{catalog}.catalog.yaml", folder)
    for part in ("trust", "secrets", "offline"):
        (folder / part).mkdir(exist_ok=True)
    waves = "" if "auto_update:" in text else yaml.safe_dump({"auto_update": {"rollout": NO_SOAK}})
    (folder / name).write_text(text + waves)
    fleet = Fleet.__new__(Fleet)
    object.__setattr__(fleet, "folder", folder)
    return fleet


def site_spec(folder: Path) -> str:
    """Give the site of its page with a medium of our own, and a strike that isn't over."""
    text = spec("site").replace("file:///media/in", (folder / "media").as_uri())
    assert text.count('"2026-12-15"') == 1
    return text.replace("2026-12-15", SOON)


def converges(fleet: Fleet, *arguments: str, **environment: str) -> Done:
    """Apply twice; the second run changes nothing. Gives the first."""
    first = fleet.run("apply", "--auto-approve", *arguments, **environment)
    assert first.code == 0, first.err + first.out
    again = fleet.run("plan", "--detailed-exitcode", *arguments, **environment)
    assert again.code == 0, again.out
    return first


@pytest.fixture
def vendor(tmp_path: Path) -> Vendor:
    """A vendor's repository in web/repo."""
    made = Vendor(tmp_path / "web/repo", datetime.now(UTC))
    made.add("clamav-main", "62", {"main.cvd": b"main" * 500})
    made.add("clamav-daily", "27800", {"daily.cvd": DAILY})
    made.sign()
    return made


def test_a_vendor_behind_a_proxy(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    url = stack.enter_context(nginx(tmp_path / "nginx", tmp_path / "web"))
    port = stack.enter_context(squid(tmp_path / "squid", user="updoser", password=WORD))
    text = spec("proxied").replace("http://updates.example", url).replace("proxy.example:3128", f"127.0.0.1:{port}")
    fleet = site(tmp_path / "office", text)
    shutil.copy(vendor.metadata / "1.root.json", fleet.folder / "trust/vendor-root.json")
    plan = fleet.run("plan", PROXY_PASSWORD=WORD)
    assert "full from vendor via egress" in plan.out
    converges(fleet, PROXY_PASSWORD=WORD)
    assert fleet.current("pc-1", "clamav-daily") == {"daily.cvd": DAILY}
    asked = len(requests(tmp_path / "nginx"))
    assert sum("GET http://127.0.0.1" in line for line in requests(tmp_path / "squid")) == asked
    seen = [plan.out, plan.err, fleet.run("status", "--format", "json", PROXY_PASSWORD=WORD).out]
    seen += [path.read_bytes().decode("latin-1") for path in fleet.folder.rglob("*") if path.is_file()]
    assert not any(WORD in text for text in seen)


def test_a_private_mirror(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> None:
    authority = Authority(tmp_path / "ca")
    certificate, key = authority.sign("localhost", "127.0.0.1")
    own, own_key = authority.sign("branch-7")
    (tmp_path / "users").write_text(f"branch-7:{{PLAIN}}{WORD}\n")
    tls = (
        f"ssl_certificate {certificate}; ssl_certificate_key {key}; "
        f"ssl_client_certificate {authority.certificate}; ssl_verify_client on;"
    )
    rules = f"auth_basic mirror; auth_basic_user_file {tmp_path}/users;"
    url = stack.enter_context(nginx(tmp_path / "nginx", tmp_path / "web", tls=tls, rules=rules))
    fleet = site(tmp_path / "office", spec("mirror").replace("https://mirror.internal.example", url))
    shutil.copy(vendor.metadata / "1.root.json", fleet.folder / "trust/vendor-root.json")
    shutil.copy(authority.certificate, fleet.folder / "trust/ca.pem")
    shutil.copy(own, fleet.folder / "trust/client.pem")
    shutil.copy(own_key, fleet.folder / "secrets/client.key")
    (fleet.folder / "secrets/mirror").write_text(f"{WORD}\n")
    converges(fleet)
    assert fleet.current("pc-1", "clamav-daily") == {"daily.cvd": DAILY}
    (fleet.folder / "secrets/mirror").write_text("wrong-word\n")
    wrong = fleet.run("plan")
    assert "HTTP 401, it wants other credentials" in wrong.out
    assert "wrong-word" not in wrong.out + wrong.err


@pytest.fixture
def hq(vendor: Vendor, tmp_path: Path, stack: ExitStack) -> Fleet:
    """The headquarters of its page, its repository set up by the commands there, word for word."""
    url = stack.enter_context(nginx(tmp_path / "nginx", tmp_path / "web"))
    fleet = site(tmp_path / "hq", spec("hq").replace("http://updates.example", url), "hq.yaml")
    shutil.copy(vendor.metadata / "1.root.json", fleet.folder / "trust/vendor-root.json")
    (fleet.folder / "drop").mkdir()
    for command in example("commands:publish").commands:
        done = fleet.run(*command)
        assert done.code == 0, done.err
    return fleet


def rules(fleet: Fleet, version: str, content: bytes) -> None:
    (fleet.folder / "suricata.rules").write_bytes(content)
    added = fleet.run("release", "add", "suricata-rules", version, "suricata.rules", "--to", "drop")
    assert added.code == 0, added.err


def carry(hq: Fleet, medium: Path) -> None:
    """Carry the repository to a site, as a courier does."""
    shutil.rmtree(medium, ignore_errors=True)
    shutil.copytree(hq.folder / "publish", medium)


def edit(fleet: Fleet, name: str, old: str, new: str) -> None:
    path = fleet.folder / name
    assert path.read_text().count(old) == 1
    path.write_text(path.read_text().replace(old, new))


WITHDRAW = '  withdraw: [{component: suricata-rules, version: "20261119.2", reason: "INC-4699"}]\n'


def test_the_air_gapped_chain(hq: Fleet, tmp_path: Path) -> None:
    medium = tmp_path / "media/site-a"
    plant = site(tmp_path / "plant", site_spec(tmp_path), "site.yaml")
    shutil.copy(hq.folder / "publish/metadata/1.root.json", plant.folder / "trust/hq-root.json")
    edit(hq, "hq.yaml", WITHDRAW, "")

    nothing = plant.run("plan", "-f", "site.yaml")
    assert nothing.code == 0
    assert "source medium: the folder" in nothing.out

    rules(hq, "20261119.1", b"alert one\n" * 3000)
    converges(hq, "-f", "hq.yaml")
    carry(hq, medium)
    converges(plant, "-f", "site.yaml")
    assert plant.current("plc-1", "clamav-daily") == {"daily.cvd": DAILY}

    rules(hq, "20261119.2", b"alert one\n" * 3000 + b"drop dns\n")
    done = converges(hq, "-f", "hq.yaml")
    assert done.code == 0
    assert "20261119.2" in hq.run("publish", "status", "-f", "hq.yaml").out
    carry(hq, medium)
    update = converges(plant, "-f", "site.yaml")
    assert "incremental from medium" in update.out
    assert plant.current("plc-1", "suricata-rules")["suricata.rules"].endswith(b"drop dns\n")

    edit(hq, "hq.yaml", "  publish: after_rollout", f"{WITHDRAW}  publish: after_rollout")
    converges(hq, "-f", "hq.yaml")
    carry(hq, medium)
    plan = plant.run("plan", "-f", "site.yaml")
    assert "suricata-rules 20261119.2 is withdrawn by source medium: INC-4699" in plan.out
    assert "withdrawn, downgrade" in plan.out
    status = plant.run("status", "-f", "site.yaml", "--refresh")
    assert "20261119.2  1 client with it  by medium: INC-4699" in status.out
    converges(plant, "-f", "site.yaml")
    assert plant.current("plc-1", "suricata-rules") == {"suricata.rules": b"alert one\n" * 3000}

    # The courier is late, and what he brings has expired on the way.
    edit(hq, "hq.yaml", "timestamp: 45d", "timestamp: 1s")
    rules(hq, "20261119.3", b"alert three\n" * 3000)
    assert hq.run("apply", "--auto-approve", "-f", "hq.yaml").code == 0
    carry(hq, medium)
    time.sleep(1.5)
    late = converges(plant, "-f", "site.yaml")
    assert f"accepted until {SOON}: courier strike; only what was verified before counts" in late.out
    assert plant.current("plc-1", "suricata-rules") == {"suricata.rules": b"alert one\n" * 3000}
    (plant.folder / "clients/plc-1/suricata-rules/current/suricata.rules").chmod(0o644)
    (plant.folder / "clients/plc-1/suricata-rules/current/suricata.rules").write_bytes(b"broken")
    repaired = converges(plant, "-f", "site.yaml", "--verify")
    (run_id,) = re.findall(r"run (\S+) carries out", repaired.err)
    assert "courier strike" in plant.run("history", run_id, "-f", "site.yaml").out


def test_a_server_is_the_source_of_the_next_over_a_web_server(hq: Fleet, tmp_path: Path, stack: ExitStack) -> None:
    rules(hq, "20261119.1", b"alert one\n" * 3000)
    converges(hq, "-f", "hq.yaml")
    url = stack.enter_context(nginx(tmp_path / "front", hq.folder / "publish"))
    text = re.sub(r'"file:///media/in/[^"]*"', f'"{url}"', spec("site"))
    plant = site(tmp_path / "plant", text, "site.yaml")
    shutil.copy(hq.folder / "publish/metadata/1.root.json", plant.folder / "trust/hq-root.json")
    converges(plant, "-f", "site.yaml")
    rules(hq, "20261120.1", b"alert one\n" * 3000 + b"alert two\n")
    converges(hq, "-f", "hq.yaml")
    update = converges(plant, "-f", "site.yaml")
    assert "Merge in the store" in update.out
    assert plant.current("plc-1", "suricata-rules")["suricata.rules"].endswith(b"alert two\n")


def test_what_failed_on_a_client_here_is_not_published(hq: Fleet) -> None:
    rules(hq, "20261119.1", b"alert one\n" * 3000)
    converges(hq, "-f", "hq.yaml")
    rules(hq, "20261120.1", b"alert two\n" * 3000)
    (hq.folder / "clients/lab-2/suricata-rules").rename(hq.folder / "clients/lab-2/elsewhere")
    (hq.folder / "clients/lab-2/suricata-rules").write_text("in the way")
    failed = hq.run("apply", "--auto-approve", "-f", "hq.yaml")
    assert failed.code == 3, failed.out
    assert "stalled: suricata-rules 20261120.1" in failed.err
    published = hq.run("publish", "status", "-f", "hq.yaml").out
    assert "20261119.1" in published
    assert "20261120.1" not in published
    (hq.folder / "clients/lab-2/suricata-rules").unlink()
    (hq.folder / "clients/lab-2/elsewhere").rename(hq.folder / "clients/lab-2/suricata-rules")
    converges(hq, "-f", "hq.yaml")  # it was the client's trouble, so nobody has to resume it
    assert "20261120.1" in hq.run("publish", "status", "-f", "hq.yaml").out


def test_keys_of_the_headquarters_are_rotated_and_sites_follow(hq: Fleet, tmp_path: Path) -> None:
    medium = tmp_path / "media/site-a"
    plant = site(tmp_path / "plant", site_spec(tmp_path), "site.yaml")
    shutil.copy(hq.folder / "publish/metadata/1.root.json", plant.folder / "trust/hq-root.json")
    rules(hq, "20261119.1", b"alert one\n" * 3000)
    converges(hq, "-f", "hq.yaml")
    carry(hq, medium)
    converges(plant, "-f", "site.yaml")
    refused = hq.run("publish", "rotate", "-f", "hq.yaml")
    assert refused.code == 1
    assert "isn't about to expire" in refused.err
    for name in ("offline/root-c", "secrets/online2.key"):
        assert hq.run("publish", "key", name).code == 0
    edit(hq, "hq.yaml", "offline/root-a.pub", "offline/root-c.pub")
    edit(hq, "hq.yaml", "secrets/online.key", "secrets/online2.key")
    staged = hq.run("publish", "rotate", "-f", "hq.yaml")
    assert "offline/root-c.pub" in staged.out
    for key in ("root-b", "root-c"):
        signed = hq.run("publish", "sign", "publish.root.json", "--key", f"offline/{key}")
        assert signed.code == 0
    early = hq.run("publish", "rotate", "-f", "hq.yaml")
    assert "needs 1 more" in early.out  # of the old keys two must sign
    assert hq.run("publish", "sign", "publish.root.json", "--key", "offline/root-a").code == 0
    done = hq.run("publish", "rotate", "-f", "hq.yaml")
    assert "root       version 2" in done.out
    rules(hq, "20261120.1", b"alert two\n" * 3000)
    converges(hq, "-f", "hq.yaml")
    carry(hq, medium)
    converges(plant, "-f", "site.yaml")
    assert plant.current("plc-1", "suricata-rules") == {"suricata.rules": b"alert two\n" * 3000}


def indexed(server: Fleet, component: str) -> list[dict[str, Any]]:
    """Give what the last index of a component lists."""
    files = (server.folder / "publish/targets/index").glob(f"*.{component}.json")
    last = max(files, key=lambda file: file.stat().st_mtime_ns)
    listed: list[dict[str, Any]] = json.loads(last.read_text())["releases"]
    return listed


def test_by_hand_only_what_is_named_is_published(hq: Fleet) -> None:
    edit(hq, "hq.yaml", "publish: after_rollout", "publish: manual")
    rules(hq, "20261119.1", b"alert one\n" * 3000)
    done = converges(hq, "-f", "hq.yaml")
    assert "20261119.1" not in done.out.partition("Publish for other sites")[2]
    unknown = hq.run("publish", "add", "suricata-rules", "20200101.1", "-f", "hq.yaml")
    assert unknown.code == 64
    assert "the store doesn't hold suricata-rules 20200101.1" in unknown.err
    assert "it holds: 20261119.1" in unknown.err
    added = hq.run("publish", "add", "suricata-rules", "-f", "hq.yaml", "--notes", "Proved in the lab.")
    assert added.code == 0, added.err
    assert "suricata-rules  20261119.1" in added.out
    assert [release["notes"] for release in indexed(hq, "suricata-rules")] == ["Proved in the lab."]
    assert hq.run("publish", "status", "-f", "hq.yaml", "--format", "json").json["releases"] != []
    rules(hq, "20261119.2", b"alert two\n" * 3000)
    converges(hq, "-f", "hq.yaml")
    assert [release["notes"] for release in indexed(hq, "suricata-rules")] == ["Proved in the lab."]
    withdrawn = hq.run("publish", "add", "suricata-rules", "20261119.2", "-f", "hq.yaml")
    assert withdrawn.code == 64
    assert "is withdrawn: INC-4699" in withdrawn.err


def test_commands_of_publishing_say_what_is_missing(hq: Fleet, tmp_path: Path) -> None:
    plain = site(tmp_path / "plain", site_spec(tmp_path))
    for command in ("init", "rotate", "status"):
        done = plain.run("publish", command)
        assert done.code == 64
        assert "has no `repository`" in done.err
    again = hq.run("publish", "init", "-f", "hq.yaml")
    assert again.code == 1
    assert "has a root already" in again.err
    (hq.folder / "secrets/online.key").write_text("no key")
    broken = hq.run("publish", "status", "-f", "hq.yaml")
    assert broken.code == 1
    assert "is no private key in PEM" in broken.err
    rules(hq, "20261119.1", b"alert one\n" * 3000)
    failed = hq.run("apply", "--auto-approve", "-f", "hq.yaml")
    assert failed.code == 1
    assert "1 change on the server failed: repository" in failed.err
    assert hq.current("lab-1", "suricata-rules") == {"suricata.rules": b"alert one\n" * 3000}
