"""What every layout holds: it says the same of the same, and names places that its folder can have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.contracts import Layout
from reconciler.model.mirror import path_problem
from reconciler.model.release import ReleaseFile
from reconciler.model.secret import SecretRef
from reconciler.plugins.layout import clamav, tree
from tests.fakes import fake_context, make_plugin, make_release

if TYPE_CHECKING:
    from pathlib import Path

LAYOUTS = [(clamav, {}), (clamav, {"cdiffs": 0}), (tree, {}), (tree, {"keep": 2, "minisign": SecretRef("env", "KEY")})]
NAMES = st.sampled_from(
    ["daily.cvd", "main.cld", "own.ndb", "all.rules", "SHA256SUMS", "a", "a.minisig", "lpt$vpn.679"]
)
ALONG = st.sampled_from(["daily-7.cdiff", "daily-8.cvd.sign", "daily-9.cdiff.sign", "a.minisig", "SHA256SUMS", "x.asc"])


@st.composite
def releases(draw: Any) -> Any:
    found = {}
    for at in range(draw(st.integers(0, 4))):
        version, component = str(draw(st.integers(7, 9))), f"c{at % 2}"
        files = draw(st.dictionaries(NAMES, st.binary(max_size=4), min_size=1, max_size=2))
        along = [ReleaseFile(name, 1, "a" * 64) for name in sorted(draw(st.sets(ALONG))) if name not in files]
        found[component, version] = make_release(component, version, files, attached=tuple(along))
    return [found[key] for key in sorted(found)]


@pytest.mark.parametrize(("module", "options"), LAYOUTS)
def test_a_layout_is_one(module: Any, options: Any, tmp_path: Path) -> None:
    assert isinstance(make_plugin(module, options, fake_context(tmp_path)), Layout)


@pytest.mark.parametrize(("module", "options"), LAYOUTS)
@given(known=releases(), others=releases())
@settings(max_examples=60, deadline=None)
def test_what_is_not_refused_lies_in_places_that_can_be_and_stays_there(
    module: Any, options: Any, known: Any, others: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    layout = make_plugin(module, options, fake_context(tmp_path_factory.getbasetemp()))
    known = [release for release in known if not layout.refusal(release)]
    names = [file.name.partition(".")[0] for release in known for file in release.files]
    if module is clamav and len({*names}) < len(names):
        return  # two of one database: refused when they meet
    placed = layout.place(known, others, ())
    paths = [one.path for one in placed]
    assert len({*paths}) == len(paths)
    assert [path_problem(path) for path in paths] == [""] * len(paths)
    assert all(one.content is not None for one in placed)
    again = layout.place(known, others, paths)
    assert {one.path: one.says for one in again if one.content is not None} == {one.path: one.says for one in placed}
    assert {one.path for one in layout.place(known, (), paths)} <= {*paths}
