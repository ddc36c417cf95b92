"""README says what the code does: commands, flags, exit codes, words of the documents."""

import re
from pathlib import Path
from typing import Any

import click
import pytest
from click.core import Command, Group

from reconciler import errors
from reconciler.cli.root import EXIT_CODES, cli
from reconciler.model.report import RECAP
from reconciler.plugin_loader import KINDS
from reconciler.specfile.load import load

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(name: str) -> str:
    return re.search(rf"<!-- {name}:begin -->\n(.*?)<!-- {name}:end -->", README, flags=re.DOTALL)[1]


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


def documented() -> dict[str, set[str]]:
    """Give the flags that README lists, by command."""
    found = {}
    for row in re.findall(r"^\| `(.+?)` \| (.+) \| (.*) \|$", section("commands"), flags=re.MULTILINE):
        words = row[0].split()
        name = " ".join(words[: 2 if words[0] in {"release", "publish", "rollout"} else 1])
        found[name] = set(re.findall(r"`(--?[a-z-]+)", row[2]))
    return found


def test_readme_lists_every_command_and_no_other() -> None:
    assert set(documented()) == set(COMMANDS)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_readme_lists_every_flag_of_a_command_and_no_other(name: str) -> None:
    flags = set()
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option):
            long = [flag for flag in (*parameter.opts, *parameter.secondary_opts) if flag.startswith("--")]
            flags |= set(long) - {"--file", "--extra-var", "--format"}
    assert documented()[name] == flags


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_has_a_help_text(name: str) -> None:
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_readme_and_help_give_the_same_exit_codes() -> None:
    in_readme = dict(re.findall(r"^\| (\d+) \| (.+) \|$", section("exit-codes"), re.MULTILINE))
    in_help = dict(re.findall(r"^ +(\d+)  (.+)$", EXIT_CODES, re.MULTILINE))
    assert {code: text.replace("`", "") for code, text in in_readme.items()} == in_help


def test_every_exit_code_of_an_error_is_documented() -> None:
    def tree(error: type[Any]) -> set[int]:
        return {error.exit_code}.union(*(tree(child) for child in error.__subclasses__()))

    documented_codes = {int(code) for code in re.findall(r"^\| (\d+) \|", section("exit-codes"), re.MULTILINE)}
    assert tree(errors.UpdoserError) <= documented_codes


def test_the_recap_is_explained() -> None:
    text = README.replace("`", "")
    for word in RECAP:
        assert re.search(rf"\b{word.replace('_', ' ')}\b", text), word


@pytest.mark.parametrize("name", re.findall(r"<!-- spec:(\w+) -->", README))
def test_every_spec_in_readme_is_valid(name: str, tmp_path: Path) -> None:
    text = re.search(rf"<!-- spec:{name} -->\n```yaml\n(.*?)```", README, flags=re.DOTALL)[1]
    for id_ in ("clamav", "suricata"):
        (tmp_path / f"{id_}.catalog.yaml").write_bytes(
            (ROOT / f"tests/unit/data/examples/{id_}.catalog.yaml").read_bytes()
        )
    (tmp_path / "updoser.yaml").write_text(text, encoding="utf-8")
    load(tmp_path / "updoser.yaml", check_secrets=False)


def test_contributing_names_every_kind_of_plugin() -> None:
    for kind in KINDS:
        assert re.search(rf"\b{kind}\b", CONTRIBUTING), kind


def test_every_link_to_a_file_leads_somewhere() -> None:
    for text in (README, CONTRIBUTING):
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / target).exists(), target
