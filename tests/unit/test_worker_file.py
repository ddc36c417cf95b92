"""The file of a worker elsewhere: what it means, and what is wrong with it, each with its line."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from reconciler.errors import PluginError, SpecError
from reconciler.model.secret import SecretRef
from reconciler.plugin_loader import schema_folder
from reconciler.worker.setup import Ways
from reconciler.worker_file import read_worker_file
from tests.fakes import NOW
from tests.pages import example

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.worker_file import WorkerFile

WHOLE = """\
version: 1
site: lyon
transport:
  type: ssh
  user: updoser
  keys: [{file: keys/fleet}]
  password: {env: FLEET_PASSWORD}
  known_hosts: known_hosts
groups:
  lab: {transport: {user: root, port: 2222}}
  here: {transport: {type: local}}
forks: 25
cache: {folder: /var/cache/updoser, limit: 1GiB}
content: [{type: http, url: "https://updates.example/repo"}]
station:
  type: celery
  url: amqps://broker.example:5671/updoser
  cert: tls/lyon.pem
  key: tls/lyon.key
  controllers: [tls/controller.pem]
"""


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], WorkerFile]:
    def read(text: str) -> WorkerFile:
        path = tmp_path / "worker.yaml"
        path.write_text(text)
        return read_worker_file(path)

    return read


def test_a_group_has_what_stands_for_all_with_its_own_laid_over_that(read: Any, tmp_path: Path) -> None:
    file = read(WHOLE)
    assert (file.site, file.forks, file.cache, file.limit) == ("lyon", 25, Path("/var/cache/updoser"), 2**30)
    assert file.setup.base == tmp_path
    common, lab, here = file.setup.any_way, file.setup.ways["lab"], file.setup.ways["here"]
    assert common.options["keys"] == [SecretRef("file", "keys/fleet")]
    assert lab.options == {**common.options, "user": "root", "port": 2222}
    assert (here.plugin, here.options) == ("local", {})
    assert file.setup.hidden == {"FLEET_PASSWORD"}
    assert [(place.name, place.options["url"]) for place in file.content] == [("http", "https://updates.example/repo")]
    assert file.station is not None
    assert (file.station.name, file.station.options["cert"]) == ("celery", "tls/lyon.pem")


def test_the_file_on_the_page_is_one(read: Any) -> None:
    file = read(example("worker:relay").text)
    assert (file.forks, file.cache, file.limit) == (25, Path("/var/cache/updoser"), 4 * 2**30)
    assert file.setup.ways["lyon-lab"].options["user"] == "admin"


def test_what_it_leaves_out_has_a_default(read: Any, tmp_path: Path) -> None:
    file = read("{version: 1, transport: {type: local}}")
    assert (file.forks, file.cache, file.limit) == (50, tmp_path / "updoser-cache", 4 * 2**30)
    assert (file.site, file.processes, file.content, file.station) == ("", None, (), None)


def test_the_example_of_its_schema_is_one(read: Any) -> None:
    schema = json.loads((schema_folder() / "worker.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    assert read(json.dumps(schema["examples"][0])).forks == 25


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (
            "version: 1\ntransport: {type: ssh, known_host: x}",
            2,
            "`transport.known_host` isn't known.*you mean `known_hosts`",
        ),
        (
            "version: 1\ntransport: {type: ssh, accept_new: true}",
            2,
            "accept_new` isn't right.*bring them in",
        ),
        ("version: 1\ntransport: {type: sssh}", 2, "there is no transport plugin named 'sssh'"),
        ("version: 1\ntransport: {user: me}", 2, "`transport` has no `type`"),
        ("version: 1\nforks: many\ntransport: {type: local}", 2, "`forks` isn't right"),
        (
            "version: 1\ntransport: {type: local}\nforks: 3\nforks: 4",
            4,
            "`forks` .* stands here twice",
        ),
        ("version: 1\ntransport: {type: local}\ncache: {limit: 4 gigs}", 3, "a size such as 512MiB or 4GiB"),
        ("version: 1\ncolour: red\ntransport: {type: local}", 2, "`colour` isn't known"),
        ("transport: {type: local}", 1, "it has no `version`"),
        ("version: 2\ntransport: {type: local}", 1, "`version` isn't right"),
        ("version: 1\ntransport: [unclosed\nforks: 3", 3, "it is no YAML"),
        ("version: 1", 0, "says of no group how clients are reached"),
        ("version: 1\ngroups: {g: {transport: {port: 1}}}", 2, "`groups.g.transport` has no `type`"),
        ("[]", 1, "isn't right"),
        ("", 0, "has no `version`"),
        ("a: " * 2000, 1, "it is no YAML|nested too deeply"),
        ("version: 1\ntransport: {type: local}\nforks: !!python/name:os.system 3", 3, "it is no YAML"),
    ],
)
def test_a_mistake_is_told_with_its_line(read: Any, text: str, line: int, said: str) -> None:
    with pytest.raises(SpecError, match=f"(?s){said}") as raised:
        read(text)
    assert line in {problem.line for problem in raised.value.problems}


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no-such.yaml: it can't be read: No such file"):
        read_worker_file(tmp_path / "no-such.yaml")


def test_clients_of_a_group_that_it_doesnt_know_are_refused_where_it_says_so(read: Any) -> None:
    text = "{version: 1, only_groups: true, transport: {type: local}, groups: {lab: {}}, cache: {folder: c}}"
    ways = Ways(read(text).setup, Event(), lambda: NOW)
    assert ways.transport("lab") is ways.transport("lab")
    with pytest.raises(PluginError, match="this worker doesn't know the group office"):
        ways.transport("office")
