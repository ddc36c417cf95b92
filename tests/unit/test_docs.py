"""The pages say what the code does: commands, flags, exit codes, words of documents; and their examples are some."""

import re
import shutil
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.core import Command, Group

from docs.make.references import references
from reconciler import errors
from reconciler.cli.root import EXIT_CODES, cli
from reconciler.model.report import RECAP
from reconciler.plugin_loader import KINDS
from reconciler.specfile.load import load
from reconciler.worker_file import read_worker_file
from tests.pages import NOT_RUN, Example, examples, pages

ROOT = Path(__file__).parents[2]
RUNNING = (ROOT / "docs/running.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(name: str) -> str:
    return re.search(rf"<!-- {name}:begin -->\n(.*?)<!-- {name}:end -->", RUNNING, flags=re.DOTALL)[1]


def commands(group: Group, prefix: str = "") -> dict[str, Command]:
    """Give every command by the words that call it."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, f"{prefix}{name} ")
        else:
            found[prefix + name] = command
    return found


COMMANDS = commands(cli)


@pytest.mark.parametrize("name", list(references()))
def test_the_references_say_what_the_code_and_the_schemas_say(name: str) -> None:
    page = ROOT / "docs/reference" / name
    assert page.read_text(encoding="utf-8") == references()[name], f"{page.name} is out of date: `make docs` writes it"


def test_every_schema_is_on_a_page() -> None:
    pages_text = "".join(references().values())
    schemas = {path.name for path in (ROOT / "schema").glob("*.schema.json")} - {"updoser.schema.json"}
    assert {name for name in schemas if f"`schema/{name}`" not in pages_text} == set()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_has_a_help_text(name: str) -> None:
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_the_page_and_help_give_the_same_exit_codes() -> None:
    in_readme = dict(re.findall(r"^\| (\d+) \| (.+) \|$", section("exit-codes"), re.MULTILINE))
    in_help = dict(re.findall(r"^ +(\d+)  (.+)$", EXIT_CODES, re.MULTILINE))
    assert {code: text.replace("`", "") for code, text in in_readme.items()} == in_help


def test_every_exit_code_of_an_error_is_documented() -> None:
    def tree(error: type[Any]) -> set[int]:
        return {error.exit_code}.union(*(tree(child) for child in error.__subclasses__()))

    documented_codes = {int(code) for code in re.findall(r"^\| (\d+) \|", section("exit-codes"), re.MULTILINE)}
    assert tree(errors.UpdoserError) <= documented_codes


def test_the_recap_is_explained() -> None:
    text = RUNNING.replace("`", "")
    for word in RECAP:
        assert re.search(rf"\b{word.replace('_', ' ')}\b", text), word


BASE: dict[str, Any] = {
    "version": 1,
    "catalogs": ["officescan", "clamav.catalog.yaml", "suricata.catalog.yaml", "eicar.catalog.yaml"],
    "server": {"store": "store", "state": "sqlite:///state.db"},
    "sources": [{"name": "drop", "type": "directory", "path": "drop"}],
    "groups": {"all": {}},
}
"""What a part of a spec is a part of."""
EICAR = {"id": "eicar-signatures", "name": "EICAR", "kind": "pattern", "version_scheme": "integer"}


def over(base: Any, part: Any) -> Any:
    """Lay a part of a spec over another."""
    if not isinstance(base, dict) or not isinstance(part, dict):
        return part
    return {**base, **{key: over(base.get(key), value) for key, value in part.items()}}


def completed(part: dict[str, Any]) -> dict[str, Any]:
    """Make a whole spec of a part of one: groups that say nothing of their clients get one each."""
    whole: dict[str, Any] = over(BASE, part)
    for name, group in whole["groups"].items():
        lacks: dict[str, Any] = {"install_root": f"/srv/{name}", "transport": {"type": "local"}}
        if not {"clients", "inventory"} & set(group):
            lacks["clients"] = [{"name": f"{name}-1", "labels": ["canary"], "vars": {"clamd": "clamd.conf"}}]
        whole["groups"][name] = {**lacks, **group}
    return whole


@pytest.mark.parametrize("example", [found for found in examples() if found.language == "yaml"], ids=str)
def test_every_example_in_yaml_is_valid(example: Example, tmp_path: Path) -> None:
    if example.mark.startswith(NOT_RUN):
        return
    if example.mark.startswith("worker:"):
        (tmp_path / "worker.yaml").write_text(example.text, encoding="utf-8")
        assert read_worker_file(tmp_path / "worker.yaml").setup.any_way is not None
        return
    for name in ("clamav", "suricata", "site"):
        shutil.copy(ROOT / f"tests/unit/data/examples/{name}.catalog.yaml", tmp_path)
    own = {"version": 1, "name": "eicar", "components": [EICAR]}
    (tmp_path / "eicar.catalog.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    for template in re.findall(r"template: ([\w/.]+)", example.text):
        (tmp_path / template).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / template).write_text("name = {{ name }}\n", encoding="utf-8")
    tree = yaml.safe_load(example.text) or {}
    if isinstance(tree.get("components"), list):
        (tmp_path / "its.catalog.yaml").write_text(example.text.replace("clamav-", "its-"), encoding="utf-8")
        tree = {"catalogs": ["its.catalog.yaml"]}
    whole = tree.keys() >= {"version", "sources", "groups"}
    text = example.text if whole else yaml.safe_dump(completed(tree), sort_keys=False)
    (tmp_path / "updoser.yaml").write_text(text, encoding="utf-8")
    load(tmp_path / "updoser.yaml", check_secrets=False)


@pytest.mark.parametrize("example", [found for found in examples() if found.commands], ids=str)
def test_every_command_of_an_example_is_one(example: Example) -> None:
    for words in example.commands:
        if set(words) & {"--help", "--version"}:
            continue
        command: Any = cli
        context = cli.make_context("updoser", list(words))
        while isinstance(command, Group):
            _, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            context = command.make_context(" ".join(words), rest, parent=context)


TESTED = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("example", [found for found in examples() if found.commands], ids=str)
def test_every_example_of_commands_is_run_by_a_test_or_says_why_not(example: Example) -> None:
    has_test = bool(example.mark) and f'"{example.mark}"' in TESTED
    page_has_test = "docs" in example.page.parts and f"{example.page.name}" in TESTED
    assert has_test or page_has_test or example.mark.startswith(NOT_RUN), (
        f"{example}: no test names its page or `{example.mark or 'a mark'}`; tests/pages.py says how examples are run"
    )


def anchors(page: Path) -> set[str]:
    """Give the anchors of the headings of a page, as GitHub and MkDocs make them."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE):
        found.add(re.sub(r" ", "-", re.sub(r"[^\w\- ]", "", heading.lower())))
    return found | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            file, _, anchor = target.partition("#")
            there = (page.parent / file).resolve() if file else page
            assert there.exists(), target
            assert not anchor or anchor in anchors(there), target


def test_contributing_names_every_kind_of_plugin() -> None:
    for kind in KINDS:
        assert re.search(rf"\b{kind}\b", CONTRIBUTING), kind


def test_every_page_has_a_place_in_the_navigation() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = sorted(re.findall(r"'([\w/.-]+\.md)'", str(nav)))
    there = sorted(str(page.relative_to(ROOT / "docs")) for page in pages() if "docs" in page.parts)
    assert listed == there, "each page of docs stands once under `nav` of mkdocs.yml"


def test_every_message_under_troubleshooting_is_one_that_updoser_says() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `(.+?)` \|", text, flags=re.MULTILINE)
    said = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "reconciler").rglob("*.py"))
    assert len(messages) > 10
    assert [message for message in messages if message not in said] == []
