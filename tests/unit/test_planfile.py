"""Plan files: written whole or not at all, vouched for, and never a traceback, whatever stands in them."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reconciler.errors import DocumentError, UpdoserError
from reconciler.model.change import Deploy
from reconciler.model.plan import Basis, Plan
from reconciler.present import views
from reconciler.present.document import plan_document
from reconciler.present.reading import read_plan
from reconciler.present.render import FORMATS, render
from reconciler.storage.planfile import read_key, read_plan_file, write_plan_file
from tests.fakes import NOW

KEY = b"k" * 32
CHANGE = Deploy("rules", "g", "1", "a" * 64, "2", "b" * 64, "any", "outdated", 1, ("c1",), 5, 9)
PLAN = Plan("p", NOW, Basis("l", 1, 0, "s", "c"), deploys=(CHANGE,), members={"c1": ("grün",)}, clients={"g": 1})


def document(**changes: Any) -> dict[str, int | str]:
    return {**plan_document(PLAN), **changes}


def changed(key: str, value: Any) -> dict[str, int | str]:
    made = document()
    made["changes"][0][key] = value
    return made


def test_a_written_plan_comes_back_with_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "plan"
    digest = write_plan_file(file, document())
    again = read_plan_file(file)
    assert read_plan(again.document) == PLAN
    assert again.sha256 == digest
    assert not again.is_signed_by(KEY)


def test_equal_plans_are_equal_files(tmp_path: Path) -> None:
    for signed in (None, KEY):
        digests = {write_plan_file(tmp_path / name, document(), signed) for name in ("a", "b")}
        assert len(digests) == 1


def test_only_the_owner_may_read_what_drives_a_fleet(tmp_path: Path) -> None:
    write_plan_file(tmp_path / "plan", document())
    assert (tmp_path / "plan").stat().st_mode & 0o077 == 0


def test_a_signature_covers_every_value_and_not_the_spelling(tmp_path: Path) -> None:
    file = tmp_path / "plan"
    write_plan_file(file, document(), KEY)
    content = json.loads(file.read_text())
    file.write_text(json.dumps(dict(reversed(content.items())), indent=4))
    assert read_plan_file(file).is_signed_by(KEY)
    for key in set(content) - {"signature"}:
        file.write_text(json.dumps({**content, key: "other"}))
        assert not read_plan_file(file).is_signed_by(KEY), key


@pytest.mark.parametrize("signature", ["", "ä", 7, None, [], "0" * 64])
def test_a_signature_that_is_none_vouches_for_nothing(tmp_path: Path, signature: Any) -> None:
    (tmp_path / "plan").write_text(json.dumps(document(signature=signature)))
    assert not read_plan_file(tmp_path / "plan").is_signed_by(KEY)


def test_a_plan_with_half_a_character_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan").write_text(json.dumps(document(signature="\ud800")))
    with pytest.raises(DocumentError, match="half a character"):
        read_plan_file(tmp_path / "plan")


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / "kept").touch()
    with pytest.raises(UpdoserError, match="can't be written"):
        write_plan_file(tmp_path / "plan", document())
    with pytest.raises(UpdoserError, match="can't be written"):
        write_plan_file(tmp_path / "nowhere" / "plan", document())
    assert [path.name for path in tmp_path.iterdir()] == ["plan"]


def test_a_write_that_breaks_off_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "plan"
    digest = write_plan_file(file, document())

    def full(_handle: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UpdoserError, match="No space left"):
        write_plan_file(file, document(plan_id="q"))
    assert read_plan_file(file).sha256 == digest
    assert [path.name for path in tmp_path.iterdir()] == ["plan"]


def test_a_plan_that_cannot_be_recorded_is_not_written(tmp_path: Path) -> None:
    file, recorded = tmp_path / "plan", []  # type: ignore[var-annotated]
    digest = write_plan_file(file, document(), record=recorded.append)
    assert recorded == [digest]

    def fails(_sha256: Any) -> None:
        raise UpdoserError("the state is gone")

    with pytest.raises(UpdoserError, match="the state is gone"):
        write_plan_file(file, document(plan_id="q"), record=fails)
    assert read_plan_file(file).sha256 == digest
    assert [path.name for path in tmp_path.iterdir()] == ["plan"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"1" * 5000, b'{"a": 1} x', b"\x00"])
def test_what_is_no_json_is_refused_with_its_path(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "plan").write_bytes(content)
    with pytest.raises(DocumentError, match="plan is no plan file") as caught:
        read_plan_file(tmp_path / "plan")
    assert "updoser plan --out" in caught.value.hint


@pytest.mark.parametrize("name", ["nothing", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DocumentError, match="can't be read"):
        read_plan_file(tmp_path / name)


@pytest.mark.parametrize(("content", "key"), [(b"x" * 32 + b"\r\n", b"x" * 32), (b"x" * 65536, b"x" * 65536)])
def test_a_key_is_read_without_its_line_end(tmp_path: Path, content: bytes, key: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    assert read_key(tmp_path / "key") == key


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 31 + b"\n\n\n", b"x" * 65537])
def test_what_is_too_short_or_too_long_is_no_key(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(UpdoserError, match="bytes"):
        read_key(tmp_path / "key")
    with pytest.raises(UpdoserError, match="can't be read"):
        read_key(tmp_path / "nothing")


@pytest.mark.parametrize(
    "odd",
    [
        changed("bytes", 10**400),
        changed("clients", 10**400),
        changed("wave", 2**64),
        changed("group", "\ud800"),
        document(problems=["\udcff"]),
        document(gone=["a\x9bb"]),
        document(clients={"g": 10**400}),
        document(serial=10**400),
        document(created="0001-01-01T00:00:00Z"),
    ],
    ids=lambda odd: next(iter({key for key in odd if odd[key] != document()[key]})),
)
def test_a_plan_with_odd_values_is_refused_or_can_be_shown(odd: Any) -> None:
    try:
        plan = read_plan(json.loads(json.dumps(odd)))
    except DocumentError:
        return
    for form in filter(lambda form: FORMATS[form].shows(views.PLAN), FORMATS):
        shown = render(plan_document(plan), form, views.PLAN, names=True).encode()
        assert b"\xc2\x9b" not in shown


def test_a_change_that_names_a_cohort_twice_is_refused() -> None:
    made = changed("members", ["c1", "c1"])
    made["changes"][0]["clients"] = 2
    with pytest.raises(DocumentError, match="twice"):
        read_plan(made)


def test_two_changes_of_one_component_for_one_client_are_refused() -> None:
    made = document()
    made["changes"] = [*made["changes"], {**made["changes"][0], "to": "3", "to_digest": "c" * 64}]  # type: ignore[assignment, dict-item, misc]
    with pytest.raises(DocumentError, match="twice"):
        read_plan(made)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(document())), json_values, max_size=3))
@example({"members": [1]})
@settings(max_examples=150, deadline=None)
def test_no_json_in_place_of_a_key_breaks_the_reader(replaced: Any) -> None:
    with contextlib.suppress(DocumentError):
        plan = read_plan({**document(), **replaced})
        assert read_plan(plan_document(plan)) == plan


ADDED = {"notes", "excused", "unmet", "unread"}
"""What plans of an earlier minor version don't have."""


def test_a_plan_of_an_earlier_minor_version_is_read() -> None:
    older = {key: value for key, value in document().items() if key not in ADDED}
    assert read_plan(older) == read_plan(document())


@pytest.mark.parametrize("key", sorted(set(document()) - {"summary"} - ADDED))
def test_a_plan_without_one_of_its_keys_is_refused(key: Any) -> None:
    made = document()
    del made[key]
    with pytest.raises(DocumentError, match=key):
        read_plan(made)


@pytest.mark.parametrize("key", sorted(set(document()["changes"][0]) - {"action"}))
def test_a_change_without_one_of_its_keys_is_refused(key: Any) -> None:
    made = document()
    del made["changes"][0][key]
    with pytest.raises(DocumentError, match=key):
        read_plan(made)


@pytest.mark.parametrize("action", ["rollouts", "format_disk"])
def test_an_action_that_cannot_be_carried_out_is_refused_by_name(action: str) -> None:
    with pytest.raises(DocumentError, match=action):
        read_plan(changed("action", action))
