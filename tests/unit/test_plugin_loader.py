"""What the loader finds, loads and refuses."""

import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import Distribution
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from reconciler import plugin_loader
from reconciler.contracts import Context, Traits
from reconciler.errors import PluginError, SourceError
from tests.waiting import PATIENCE

PLUGIN = """
OPTIONS = {"type": "object"}


class PLUGIN:
    def __init__(self, options, context):
        self.options = options
        self.base = context.base
"""


@pytest.fixture(autouse=True)
def forget_folder_plugins() -> Iterator[Any]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("updoser_plugins.", "acme_")):
            del sys.modules[name]


@pytest.fixture
def context(tmp_path: Path) -> Any:
    return Context(
        base=tmp_path,
        work=tmp_path,
        clock=lambda: datetime.now(UTC),
        secret=str,
        log=logging.getLogger("test"),
        shell=lambda pipe, **_: pipe,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    """A plugin folder as an operator would lay it out, with one source in it."""
    path = tmp_path / "own"
    write(path / "source" / "acme.py", PLUGIN)
    return path


@pytest.fixture
def bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Bundled plugins of the test's own: two sources, and a helper that is none."""
    path = tmp_path / "bundled"
    write(path / "source" / "alpha.py", PLUGIN)
    write(path / "source" / "beta.py", PLUGIN)
    write(path / "source" / "_shared.py", "VALUE = 1\n")
    monkeypatch.setattr(plugin_loader, "bundled_folder", lambda: path)
    return path


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A distribution `acme-updoser` on the import path, whose entry point is the source `cloud`."""
    site = tmp_path / "site"
    write(site / "acme_cloud.py", PLUGIN)
    info = site / "acme_updoser-1.0.dist-info"
    write(info / "METADATA", "Metadata-Version: 2.1\nName: acme-updoser\nVersion: 1.0\n")
    write(info / "entry_points.txt", "[updoser.source]\ncloud = acme_cloud\n")
    monkeypatch.syspath_prepend(str(site))
    return info


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.write_text(dedent(text), encoding="utf-8")
    path.chmod(0o644)
    return path


def names(kind: Any, folders: Any = ()) -> Any:
    return [(found.name, found.origin) for found in plugin_loader.available(kind, folders)]


def test_every_bundled_plugin_is_listed_by_kind_and_loads() -> None:
    for kind in plugin_loader.KINDS:
        files = sorted(path.stem for path in (plugin_loader.bundled_folder() / kind).glob("[a-z]*.py"))
        assert [name for name, origin in names(kind) if origin == "bundled"] == files
        for name in files:
            assert plugin_loader.options_schema(kind, name)["type"] == "object"


def test_the_list_goes_from_bundled_over_installed_to_the_folders_of_the_spec(
    bundled: Any, installed: Any, folder: Path
) -> None:
    assert names("source", [folder]) == [
        ("alpha", "bundled"),
        ("beta", "bundled"),
        ("cloud", "entry point of acme-updoser"),
        ("acme", f"folder {folder}"),
    ]


def test_names_that_are_no_plugin_names_are_not_listed(bundled: Any, installed: Any, folder: Path) -> None:
    write(folder / "source" / "_helper.py", "raise RuntimeError")
    write(folder / "source" / "With-Dash.py", "raise RuntimeError")
    write(installed / "entry_points.txt", "[updoser.source]\ncloud = acme_cloud\nNot-A-Name = acme_cloud\n")
    assert [name for name, _ in names("source", [folder])] == ["alpha", "beta", "cloud", "acme"]


def test_packages_in_a_zip_file_have_plugins_as_others_do(
    bundled: Any, installed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", installed.parent)
    monkeypatch.setattr(sys, "path", [packed, *(entry for entry in sys.path if entry != str(installed.parent))])
    assert ("cloud", "entry point of acme-updoser") in names("source")


def test_packages_that_something_else_finds_than_the_path_have_plugins_as_others_do(
    bundled: Any, installed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Finder:
        @classmethod
        def find_distributions(cls, context: Any = None) -> Any:
            return [Distribution.at(installed)]

        @classmethod
        def find_spec(cls, *_about: Any) -> None:
            return None

    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(installed.parent)])
    assert ("cloud", "entry point of acme-updoser") not in names("source")
    monkeypatch.setattr(sys, "path", [*sys.path, str(installed.parent / "nowhere")])  # another path is looked at anew
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    assert ("cloud", "entry point of acme-updoser") in names("source")


def test_an_unknown_name_is_answered_with_the_names_that_there_are(bundled: Any, folder: Path) -> None:
    with pytest.raises(PluginError, match="no source plugin named 'alphaa'") as caught:
        plugin_loader.options_schema("source", "alphaa", [folder])
    assert caught.value.hint == "there is: acme, alpha, beta"


def test_an_unknown_kind_is_answered_with_the_kinds_that_there_are() -> None:
    with pytest.raises(PluginError, match="no plugin kind 'sauce'") as caught:
        plugin_loader.available("sauce")  # type: ignore[arg-type]
    assert "source" in caught.value.hint


@pytest.mark.parametrize("name", ["../source/alpha", "alpha.py", "", "_shared", "os.path"])
def test_a_name_can_not_lead_anywhere_else(bundled: Any, name: str, context: Any) -> None:
    with pytest.raises(PluginError, match="there is no source plugin named"):
        plugin_loader.load("source", name, {}, context)


def test_a_folder_can_not_shadow_a_bundled_plugin(bundled: Any, folder: Path) -> None:
    write(folder / "source" / "alpha.py", "raise RuntimeError('imported')")
    with pytest.raises(PluginError, match="'alpha' stands in bundled and folder") as caught:
        plugin_loader.options_schema("source", "alpha", [folder])
    assert "rename or remove" in caught.value.hint


def test_an_installed_package_can_not_shadow_a_bundled_plugin(bundled: Any, installed: Any) -> None:
    write(installed / "entry_points.txt", "[updoser.source]\nalpha = acme_cloud\n")
    with pytest.raises(PluginError, match="'alpha' stands in bundled and entry point of acme-updoser"):
        plugin_loader.options_schema("source", "alpha")


def test_a_plugin_of_a_folder_is_loaded_with_its_options_and_the_context(folder: Path, context: Any) -> None:
    source = plugin_loader.load("source", "acme", {"path": "upstream"}, context, [folder])
    assert source.options == {"path": "upstream"}
    assert source.base == context.base


def test_a_plugin_of_an_installed_package_is_loaded(installed: Any, context: Any) -> None:
    assert plugin_loader.load("source", "cloud", {"day": 1}, context).options == {"day": 1}


def test_a_plugin_of_a_folder_is_imported_once(folder: Path, context: Any) -> None:
    first = plugin_loader.load("source", "acme", {}, context, [folder])
    second = plugin_loader.load("source", "acme", {}, context, [folder])
    assert type(first) is type(second)


def test_plugins_of_one_name_in_different_folders_are_not_mixed_up(folder: Path, tmp_path: Path, context: Any) -> None:
    other = tmp_path / "other"
    write(other / "source" / "acme.py", "OPTIONS = {}\ndef PLUGIN(options, context):\n    return 'other'\n")
    plugin_loader.load("source", "acme", {}, context, [folder])
    assert plugin_loader.load("source", "acme", {}, context, [other]) == "other"


def test_a_plugin_may_define_dataclasses_with_postponed_annotations(folder: Path, context: Any) -> None:
    write(
        folder / "source" / "typed.py",
        """
        from __future__ import annotations
        from dataclasses import dataclass

        OPTIONS = {}

        @dataclass(frozen=True, slots=True)
        class PLUGIN:
            options: dict[str, object]
            context: object
        """,
    )
    assert plugin_loader.load("source", "typed", {"a": 1}, context, [folder]).options == {"a": 1}


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"missing is not there"):
        plugin_loader.available("source", [tmp_path / "missing"])


@pytest.mark.parametrize("place", [".", "source", "source/acme.py", "source/__pycache__"])
def test_what_everyone_can_write_is_refused_with_the_command_that_mends_it(folder: Path, place: str) -> None:
    path = folder / place
    if not path.exists():
        path.mkdir()
    path.chmod(0o777)
    with pytest.raises(PluginError, match="writable by everyone") as caught:
        plugin_loader.available("source", [folder])
    assert caught.value.hint == f"chmod o-w {path}"


def test_a_folder_that_everyone_can_replace_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    write(shared / "own" / "source" / "acme.py", PLUGIN)
    shared.chmod(0o777)
    with pytest.raises(PluginError, match="everyone can replace"):
        plugin_loader.available("source", [shared / "own"])
    shared.chmod(0o1777)
    assert ("acme", f"folder {shared / 'own'}") in names("source", [shared / "own"])


@pytest.mark.parametrize("place", ["source/linked.py", "transport"])
def test_a_link_that_leads_out_of_the_folder_is_refused(folder: Path, tmp_path: Path, place: str) -> None:
    outside = tmp_path / "outside"
    write(outside / "elsewhere.py", PLUGIN)
    (folder / place).symlink_to(outside / "elsewhere.py" if place.endswith(".py") else outside)
    with pytest.raises(PluginError, match="a link that leads out of it"):
        plugin_loader.available("source", [folder])


def test_a_link_inside_the_folder_is_followed(folder: Path) -> None:
    (folder / "source" / "alias.py").symlink_to("acme.py")
    assert ("alias", f"folder {folder}") in names("source", [folder])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("import a_package_that_is_not_there", "No module named 'a_package_that_is_not_there'"),
        ("def broken(:", "SyntaxError"),
        ("{}['key']", "KeyError: 'key'"),
    ],
)
def test_a_plugin_that_can_not_be_imported_is_named_with_the_reason(folder: Path, text: str, words: str) -> None:
    write(folder / "source" / "broken.py", text)
    with pytest.raises(PluginError, match="can't be imported") as caught:
        plugin_loader.options_schema("source", "broken", [folder])
    assert f"the source plugin 'broken' (folder {folder})" in str(caught.value)
    assert words in str(caught.value)


def test_a_plugin_that_was_mended_is_imported_again(folder: Path) -> None:
    path = write(folder / "source" / "mended.py", "raise RuntimeError('not yet')")
    with pytest.raises(PluginError, match="not yet"):
        plugin_loader.options_schema("source", "mended", [folder])
    write(path, "OPTIONS = {'title': 'mended'}\ndef PLUGIN(options, context):\n    return None\n")
    assert plugin_loader.options_schema("source", "mended", [folder]) == {"title": "mended"}


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("def PLUGIN(options, context):\n    return None\n", "has no OPTIONS"),
        ("OPTIONS = {}\n", "has no PLUGIN"),
        ("OPTIONS = {}\nPLUGIN = 'not callable'\n", "has no PLUGIN"),
    ],
)
def test_a_module_that_is_no_plugin_says_what_it_lacks(folder: Path, context: Any, text: str, missing: str) -> None:
    write(folder / "source" / "odd.py", text)
    with pytest.raises(PluginError, match=missing):
        plugin_loader.load("source", "odd", {}, context, [folder])


@pytest.mark.parametrize(
    ("says", "found"),
    [
        ("", None),
        ("TRAITS = Traits(programs=True)", Traits(programs=True)),
        ("def TRAITS(options):\n    return Traits(url=options['at'])", Traits(url="there")),
    ],
)
def test_a_plugin_says_what_it_does_once_and_for_all_or_by_its_options(folder: Path, says: str, found: Any) -> None:
    write(folder / "source" / "acme.py", f"from reconciler.contracts import Traits\n{says}\n{PLUGIN}")
    assert plugin_loader.traits("source", "acme", {"at": "there"}, [folder]) == found


def test_what_nobody_wrote_has_its_default_for_a_plugin_and_for_what_says_what_it_does(
    folder: Path, context: Any
) -> None:
    write(
        folder / "source" / "shelf.py",
        """
        from reconciler.contracts import Traits

        PART = {"properties": {"name": {"type": "string"}, "depth": {"type": "integer", "default": 2}}}
        OPTIONS = {"$defs": {"part": PART}, "properties": {
            "at": {"type": "string", "default": "here"},
            "tags": {"type": "array", "default": []},
            "part": {"$ref": "#/$defs/part"},
            "parts": {"type": "array", "items": PART},
            "whole": {**PART, "default": {}},
            "left": {"type": "string"},
        }}

        def TRAITS(options):
            return Traits(url=options["at"])

        def PLUGIN(options, context):
            options["tags"].append("kept to itself")
            return options
        """,
    )
    given = {"part": {"name": "a"}, "parts": [{"depth": 1}, {}]}
    for _again in range(2):
        assert plugin_loader.load("source", "shelf", given, context, [folder]) == {
            "at": "here",
            "tags": ["kept to itself"],
            "part": {"name": "a", "depth": 2},
            "parts": [{"depth": 1}, {"depth": 2}],
            "whole": {"depth": 2},
        }
    assert given == {"part": {"name": "a"}, "parts": [{"depth": 1}, {}]}
    assert plugin_loader.traits("source", "shelf", {}, [folder]) == Traits(url="here")


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ("TRAITS = {'programs': False}", "are no reconciler.contracts.Traits"),
        ("def TRAITS(options):\n    return options['missing']", "broke: KeyError: 'missing'"),
    ],
)
def test_what_says_it_in_another_form_is_refused(folder: Path, says: str, why: str) -> None:
    write(folder / "source" / "acme.py", f"{says}\n{PLUGIN}")
    with pytest.raises(PluginError, match=why):
        plugin_loader.traits("source", "acme", {}, [folder])


def test_an_error_of_our_own_passes_and_a_foreign_one_becomes_a_plugin_error(folder: Path, context: Any) -> None:
    write(
        folder / "source" / "picky.py",
        """
        from reconciler.errors import SourceError

        OPTIONS = {}

        def PLUGIN(options, context):
            if options["own"]:
                raise SourceError("nothing there")
            raise ZeroDivisionError("by zero")
        """,
    )
    with pytest.raises(SourceError, match="nothing there"):
        plugin_loader.load("source", "picky", {"own": True}, context, [folder])
    with pytest.raises(PluginError, match=r"'picky' \(folder .*\) can't be set up: ZeroDivisionError: by zero"):
        plugin_loader.load("source", "picky", {"own": False}, context, [folder])


def test_listing_imports_no_plugin_and_looking_one_up_imports_one(tmp_path: Path) -> None:
    own = tmp_path / "own"
    for name in ("first", "second"):
        write(own / "source" / f"{name}.py", PLUGIN)
    program = """
        import sys
        from pathlib import Path
        from reconciler import plugin_loader

        def loaded():
            return sorted(name for name in sys.modules if name.count(".") > 1 and "plugins." in name)

        for kind in plugin_loader.KINDS:
            plugin_loader.available(kind, [Path(sys.argv[1])])
        assert loaded() == [], loaded()
        plugin_loader.options_schema("source", "second", [Path(sys.argv[1])])
        assert loaded() == ["updoser_plugins.source.second"], loaded()
        """
    root = Path(plugin_loader.__file__).parent.parent
    subprocess.run([sys.executable, "-c", dedent(program), str(own)], check=True, cwd=root, timeout=PATIENCE)
