"""Results as CSV: any reader gets the cells back, and no spreadsheet runs them."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.errors import UsageError, printable
from reconciler.present.csv_text import csv_text
from reconciler.present.render import View, render


@given(st.lists(st.lists(st.text(max_size=20), min_size=2, max_size=2), max_size=5))
@example([["=1+1", "+1"], [" -1", "@x"], ["\t=1", "\r=1"]])
def test_cells_come_back_and_none_begins_a_formula(rows: list[list[str]]) -> None:
    read = list(csv.reader(io.StringIO(csv_text(rows))))
    assert [[cell.removeprefix("'") for cell in row] for row in read] == [
        [printable(cell).removeprefix("'") for cell in row] for row in rows
    ]
    for row in read:
        assert not any(cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r")) for cell in row)


def test_a_document_that_is_no_table_is_refused_as_csv() -> None:
    with pytest.raises(UsageError, match="no table"):
        render({}, "csv", View(str))
