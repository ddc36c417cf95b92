"""Batches and reports as documents: they come back as they went out, fit their schemas, and nonsense is refused."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from reconciler.errors import ClientError, DocumentError, Problem, SpecError, TransportError, UpdoserError
from reconciler.formats.answer_json import read_report, write_report
from reconciler.formats.batch_json import read_batch, write_batch
from reconciler.model.batch import Answer, Batch, Ended, Look, Read, StepDone, Target
from reconciler.model.client import Client
from reconciler.model.deploy import Outcome
from reconciler.plugin_loader import schema_folder
from tests.batches import all_errors, answers, batches, ends

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.batch import Report

SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large)


def schema(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((schema_folder() / f"{name}.schema.json").read_text(encoding="utf-8")))


BATCH, RESULT = schema("batch"), schema("result")


@settings(deadline=None, max_examples=25, suppress_health_check=SLOW)
@given(batches())
def test_every_batch_fits_its_schema_and_comes_back_as_it_was(batch: Batch) -> None:
    written = write_batch(batch)
    BATCH.validate(json.loads(written))
    assert read_batch(written) == batch


@settings(deadline=None, max_examples=25, suppress_health_check=SLOW)
@given(answers | ends)
def test_every_report_fits_its_schema_and_comes_back_as_it_was(report: Report) -> None:
    written = write_report(report)
    RESULT.validate(json.loads(written))
    assert read_report(written) == report


@pytest.mark.parametrize("made", all_errors(), ids=lambda made: made.__name__)
def test_an_error_comes_back_as_its_class_with_all_that_it_says(made: type[UpdoserError]) -> None:
    error = made("10.0.0.1:22 is gone\nthat is all", hint="look there")
    error.reason = "silent"
    written = write_report(Answer(batch="b", attempt=1, client="pc", error=error))
    RESULT.validate(json.loads(written))
    back = read_report(written)
    assert isinstance(back, Answer)
    assert (type(back.error), str(back.error), back.error.reason) == (made, str(error), "silent")
    assert back.error.exit_code == error.exit_code


class OddError(TransportError):
    """What a plugin of others may raise."""


@pytest.mark.parametrize(
    ("error", "known"), [(OddError("gone"), TransportError), (SpecError([Problem("no good")]), UpdoserError)]
)
def test_an_error_of_a_class_that_others_dont_know_comes_as_the_nearest_that_they_do(
    error: UpdoserError, known: type[UpdoserError]
) -> None:
    back = read_report(write_report(Answer(batch="b", attempt=1, client="pc", error=error)))
    assert isinstance(back, Answer)
    assert (type(back.error), back.error.message) == (known, error.message)


def test_an_error_of_a_later_version_is_one_of_ours() -> None:
    document = json.loads(write_report(Answer(batch="b", attempt=1, client="pc", error=ClientError("no"))))
    document["error"] |= {"class": "LaterError", "reason": "later"}
    back = read_report(json.dumps(document).encode())
    assert isinstance(back, Answer)
    assert (type(back.error), back.error.message, back.error.reason) == (UpdoserError, "no", "other")


@pytest.mark.parametrize("said", ["x" * 5000, "bell\a and \x1b[2J", "two\nlines"])
def test_odd_words_of_a_client_are_cut_and_never_keep_its_answer_back(said: str) -> None:
    outcome = Outcome("rules", "failed", message=said, unsaid=said)
    back = read_report(write_report(Answer(batch="b", attempt=1, client="pc", steps=(StepDone(outcome=outcome),))))
    assert isinstance(back, Answer)
    shown = back.steps[0].outcome.message
    assert len(shown) <= 1000
    assert shown.isprintable()
    assert shown[:3] == said[:3]


def test_an_error_message_of_any_length_is_taken() -> None:
    back = read_report(write_report(Answer(batch="b", attempt=1, client="pc", error=ClientError("x" * 10**5))))
    assert isinstance(back, Answer)
    assert back.error.message.startswith("xxx")


def test_a_later_minor_version_may_add_keys_anywhere() -> None:
    batch = Batch(id="1", run_id="r", group="g", task=Look(verify=True), targets=(Target(client=Client("pc", "g")),))
    document = json.loads(write_batch(batch))
    document |= {"format_version": "1.7", "later": {"x": 1}}
    document["task"]["later"] = document["targets"][0]["later"] = [1]
    assert read_batch(json.dumps(document).encode()) == batch


@pytest.mark.parametrize("version", ["2.0", "0.9", "", 1, None, "1" * 100])
def test_another_major_version_is_refused(version: Any) -> None:
    with pytest.raises(DocumentError, match="format"):
        read_batch(json.dumps({"format_version": version}).encode())
    with pytest.raises(DocumentError, match="format"):
        read_report(json.dumps({"format_version": version}).encode())


def test_a_client_may_be_of_another_group_than_its_batch() -> None:
    others = (Target(client=Client("a", "g")), Target(client=Client("b", "h")))
    batch = Batch(id="1", run_id="r", group="g", task=Read(), targets=others)
    assert read_batch(write_batch(batch)) == batch


def parts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield (*path, key)
            yield from parts(inner, (*path, key))


ODD: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**70,
    1.5,
    float("nan"),
    "",
    "x" * 200_000,
    "\0",
    "\x1b",
    "../..",
    [],
    [[]],
    {},
    {"": {}},
    [1],
)


def spoilt(document: Any, seed: int) -> Any:
    """Give a document in which something is replaced by something else."""
    chance, changed = random.Random(seed), json.loads(json.dumps(document))
    *way, last = chance.choice(list(parts(changed)))
    inner = changed
    for key in way:
        inner = inner[key]
    inner[last] = chance.choice(ODD)
    return changed


@settings(deadline=None, max_examples=50, suppress_health_check=SLOW)
@given(batches(), st.integers())
def test_a_batch_that_is_read_is_one_however_it_was_spoilt(batch: Batch, seed: int) -> None:
    document = spoilt(json.loads(write_batch(batch)), seed)
    try:
        found = read_batch(json.dumps(document).encode())
    except DocumentError:
        return
    # What the reader takes, the writer gives again, and the schema describes: the two agree.
    written = write_batch(found)
    BATCH.validate(json.loads(written))
    assert read_batch(written) == found


@settings(deadline=None, max_examples=50, suppress_health_check=SLOW)
@given(answers | ends, st.integers())
def test_a_report_that_is_read_is_one_however_it_was_spoilt(report: Report, seed: int) -> None:
    document = spoilt(json.loads(write_report(report)), seed)
    try:
        found = read_report(json.dumps(document).encode())
    except DocumentError:
        return
    written = write_report(found)
    RESULT.validate(json.loads(written))
    assert read_report(written) == found


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"format_version":"1.0"}'])
def test_what_is_no_document_is_refused_with_a_sentence(content: bytes) -> None:
    for read, what in ((read_batch, "batch"), (read_report, "report")):
        with pytest.raises(DocumentError, match=f"^the {what} is malformed: .{{5,300}}$"):
            read(content)


def test_an_end_says_why_its_batch_is_lost() -> None:
    assert read_report(write_report(Ended("b", 2, "the worker was killed"))) == Ended("b", 2, "the worker was killed")
