"""A `csv` inventory reads what spreadsheets write, and names the line where it can't."""

import csv as python_csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import InventoryError
from reconciler.model.client import InventoryEntry
from reconciler.plugins.inventory import csv
from tests.fakes import fake_context


@pytest.fixture
def entries(tmp_path: Path) -> Callable[..., Any]:
    def read(content: bytes | str, **options: dict[str, str] | str) -> list[InventoryEntry] | None:
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "fleet.csv").write_bytes(data)
        return list(csv.PLUGIN({"path": "fleet.csv", **options}, fake_context(tmp_path)).clients())

    return read


def test_known_columns_have_their_meaning_and_others_become_vars(entries: Callable[..., Any]) -> None:
    content = (
        "site,name,port,labels,user,address,groups,Rack No.\n"
        "berlin,pc-1,2222,eu;canary,admin,192.0.2.1,web; db,7\n"
        "paris,pc-2,,,,,,\n"
    )
    assert entries(content) == [
        InventoryEntry(
            "pc-1",
            "192.0.2.1",
            port=2222,
            user="admin",
            labels=("eu", "canary"),
            groups=("web", "db"),
            vars={"site": "berlin", "Rack_No_": "7"},
        ),
        InventoryEntry("pc-2", vars={"site": "paris"}),
    ]


def test_a_byte_order_mark_windows_line_ends_blank_lines_and_quotes_are_fine(entries: Callable[..., Any]) -> None:
    content = '\ufeffname,note\r\n\r\npc-1,"a, ""b""\nc"\r\npc-2,\r\n'
    assert entries(content) == [InventoryEntry("pc-1", vars={"note": 'a, "b"\nc'}), InventoryEntry("pc-2")]


def test_the_file_may_have_other_column_names_and_another_delimiter(entries: Callable[..., Any]) -> None:
    found = entries(
        "Hostname;IP Address\npc-1;192.0.2.1\n",
        delimiter=";",
        columns={"name": "Hostname", "address": "IP Address"},
    )
    assert found == [InventoryEntry("pc-1", "192.0.2.1")]


PCS = [InventoryEntry("pc-1", "192.0.2.1", port=2222), InventoryEntry("pc-2", "192.0.2.2")]


@pytest.mark.parametrize(
    "content",
    [
        "name,address,port,,\npc-1,192.0.2.1,2222,,\n,,,,\npc-2,192.0.2.2,,,\n,,,,\n,,,,\n",
        "\ufeffname;address;port;;\r\npc-1;192.0.2.1;2222;;\r\n;;;;\r\npc-2;192.0.2.2;;;\r\n;;;;\r\n",
        ",,\nname,address,port\npc-1,192.0.2.1,2222,,\n , ,\npc-2,192.0.2.2,,,,\n",
        "sep=;\r\nname;address;port\r\npc-1;192.0.2.1;2222\r\npc-2;192.0.2.2;\r\n",
        "name\taddress\tport\npc-1\t192.0.2.1\t2222\npc-2\t192.0.2.2\t\n",
        '"name";"address";"port"\n"pc-1";"192.0.2.1";"2222"\n"";"";""\n"pc-2";"192.0.2.2";""\n',
    ],
    ids=["commas", "semicolons", "rows longer than the header", "a line for Excel", "tabs", "all in quotes"],
)
def test_what_excel_writes_is_read_with_its_empty_rows_and_columns_and_its_separator(
    entries: Callable[..., Any], content: str
) -> None:
    assert entries(content) == PCS


def test_what_the_spec_says_of_the_separator_holds_against_what_the_file_looks_like(
    entries: Callable[..., Any],
) -> None:
    assert entries("name;note,x\npc-1;2\n", delimiter=";") == [InventoryEntry("pc-1", vars={"note_x": "2"})]
    with pytest.raises(InventoryError, match="there is no column 'name'"):
        entries("name;address\npc-1;192.0.2.1\n", delimiter=",")


CELLS = st.lists(st.text(alphabet='ab,;\t"\n é', max_size=5), min_size=2, max_size=2)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(CELLS, max_size=4), delimiter=st.sampled_from(",;\t"), dialect=st.sampled_from(["excel", "unix"]))
def test_whatever_python_writes_as_csv_is_read_as_it_was_meant(
    rows: list[list[str]], delimiter: str, dialect: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = python_csv.writer(file, dialect, delimiter=delimiter)
        writer.writerows([["name", "a", "b"], *([f"pc-{at}", *row] for at, row in enumerate(rows))])
        writer.writerow(["", "", ""])
    found = csv.PLUGIN({"path": path.name}, fake_context(path.parent)).clients()
    wanted = [{name: cell for name, cell in zip("ab", row, strict=True) if cell} for row in rows]
    assert [entry.vars for entry in found] == wanted


@pytest.mark.parametrize(
    ("header", "words", "hint"),
    [
        ("name,ssh_port", "the column 'ssh_port' would only be a var, and reads as the port", "{port: ssh_port}"),
        ("name,Port", "the column 'Port' would only be a var", "{port: Port}"),
        ("name,IP Address", "reads as the address of clients", "{address: IP Address}"),
        ("name,ansible_ssh_host", "reads as the address of clients", "{address: ansible_ssh_host}"),
        ("name,ansible_user", "reads as the user of clients", "{user: ansible_user}"),
        ("name,ansible_connection", "says in Ansible how a client is reached", "`transport`"),
        ("name,ansible_ssh_common_args", "says in Ansible how a client is reached", "`transport`"),
    ],
)
def test_a_column_that_says_which_machine_it_is_is_never_only_a_var(
    entries: Callable[..., Any], header: str, words: str, hint: str
) -> None:
    with pytest.raises(InventoryError) as caught:
        entries(f"{header}\npc-1,x\n")
    assert "fleet.csv:1: " in caught.value.message
    assert words in caught.value.message
    assert hint in caught.value.hint


def test_a_second_column_about_a_machine_may_be_a_var_where_another_says_how_it_is_reached(
    entries: Callable[..., Any],
) -> None:
    found = entries("name,fqdn,hostname\npc-1,pc-1.example,old\n", columns={"address": "fqdn"})
    assert found == [InventoryEntry("pc-1", "pc-1.example", vars={"hostname": "old"})]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "fleet.csv:1: there is no header line"),
        ("address\n192.0.2.1\n", "fleet.csv:1: there is no column 'name' (there is: address)"),
        ("name,name\na,b\n", "fleet.csv:1: the column 'name' stands twice"),
        ("name,\na,\nb,c\n", "fleet.csv:3: column 2 has no name in the header"),
        ("\nname;port\npc-1;22;x\n", "fleet.csv:3: 3 cells"),
        ("sep=;\nname\n\npc-1;x\n", "fleet.csv:4: 2 cells"),
        ('sep=;\nname;note\npc-1;"x\n', "fleet.csv:3: unexpected end of data"),
        ("name,a b,a-b\nx,1,2\n", "fleet.csv:1: several columns would become the var 'a_b'"),
        ("name,port\npc-1,22\npc-2\n", "fleet.csv:3: 1 cells, and the header names 2 columns"),
        ("name,port\npc-1,22,x\n", "fleet.csv:2: 3 cells"),
        ("name,port\n\n,22\n", "fleet.csv:3: the client has no name"),
        ("name,port\npc-1,ssh\n", "fleet.csv:2: the port 'ssh' isn't a number"),
        ("name,port\npc-1,٢٢\n", "isn't a number"),
        ("name,port\npc-1,123456\n", "isn't a number"),
        ("name\npc-1\npc-2\npc-1\n", "fleet.csv:4: the client 'pc-1' stands in line 2 already"),
        ('name,note\npc-1,"x\n', "fleet.csv:2: unexpected end of data"),
        (f"name\n{'x' * 200_000}\n", "fleet.csv:2: field larger than field limit"),
        (b"name\npc-1\npc-\xe4\n", "fleet.csv:3: it isn't UTF-8"),
    ],
)
def test_a_mistake_in_the_file_is_an_error_that_says_file_and_line(
    entries: Callable[..., Any], content: bytes | str, words: str
) -> None:
    with pytest.raises(InventoryError) as caught:
        entries(content)
    assert words in caught.value.message


def test_a_column_that_the_spec_names_must_be_there(entries: Callable[..., Any]) -> None:
    with pytest.raises(InventoryError, match="there is no column 'IP'"):
        entries("name\npc-1\n", columns={"address": "IP"})


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    inventory = csv.PLUGIN({"path": "gone.csv"}, fake_context(tmp_path))
    with pytest.raises(InventoryError, match=r"gone\.csv can't be read: no such file"):
        list(inventory.clients())


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv, "MAX_BYTES", 1000)
    inventory = csv.PLUGIN({"path": "/dev/zero"}, fake_context(tmp_path))
    with pytest.raises(InventoryError, match="larger than 1000 bytes"):
        list(inventory.clients())


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=120) | st.text(alphabet='name,port;"\n\r a1\x00é', max_size=80).map(str.encode))
def test_any_bytes_are_clients_or_an_inventory_error(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "any.csv").write_bytes(b"name,port\n" + content)
    try:
        entries = list(csv.PLUGIN({"path": "any.csv"}, fake_context(folder)).clients())
    except InventoryError:
        return
    assert len({entry.name for entry in entries}) == len(entries)
