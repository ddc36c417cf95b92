"""The fleet: what clients come of a spec and its inventories, and which lists are not believed."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import InventoryError, InventoryShrankError
from reconciler.model.client import Client, Demands, InventoryEntry
from reconciler.model.spec import GroupSpec, InventorySpec, PluginConfig
from reconciler.observe import inventory as observed
from reconciler.observe.inventory import list_clients, list_fleet
from tests.fakes import FakeInventory

TRANSPORT = PluginConfig("transport", "ssh")
PLUGIN = PluginConfig("inventory", "fake")
TEXT = st.text(max_size=4)


def group(name: str = "branch", *, inventory: Any = None, **fields: Any) -> Any:
    return GroupSpec(name, TRANSPORT, "/var/lib/updoser", inventory=inventory, **fields)


def listed(entries: Any, *, labels: Any = (), **spec: Any) -> Any:
    """List the clients of one group from inventory entries."""
    branch = group(labels=labels, inventory=InventorySpec(PLUGIN, **spec))
    return list_clients(branch, FakeInventory(entries))


def entries(count: Any, **fields: Any) -> Any:
    return [InventoryEntry(f"pc-{number}", **fields) for number in range(count)]


def fleet_of(count: Any, known: Any, *, allow_shrink: bool = False, **spec: Any) -> Any:
    branch = group(inventory=InventorySpec(PLUGIN, **spec))
    return list_fleet([(branch, FakeInventory(entries(count)))], lambda _name: known, allow_shrink=allow_shrink)


def names(clients: Any) -> Any:
    return [client.name for client in clients]


def test_clients_of_the_spec_get_what_their_group_says_and_keep_what_they_say_themselves() -> None:
    clients = (
        Client("pc-1", "branch", "192.0.2.11", labels=("canary",)),
        Client("pc-2", "branch", port=2222, user="admin", install_root="/srv", vars={"site": "berlin"}),
    )
    assert list_clients(group(clients=clients, labels=("eu",)), None) == [
        Client(
            "pc-1",
            "branch",
            "192.0.2.11",
            port=None,
            user=None,
            labels=("canary", "eu"),
            install_root="/var/lib/updoser",
        ),
        Client(
            "pc-2",
            "branch",
            "pc-2",
            port=2222,
            user="admin",
            labels=("eu",),
            install_root="/srv",
            vars={"site": "berlin"},
        ),
    ]


def test_an_entry_of_an_inventory_becomes_a_client_with_the_labels_of_group_entry_groups_and_vars() -> None:
    entry = InventoryEntry(
        "pc-1",
        "192.0.2.1",
        port=22,
        user="admin",
        labels=("canary",),
        groups=("all", "web"),
        vars={"site": "berlin", "x": ""},
    )
    assert listed([entry], labels=("eu",), labels_from=("groups", "site", "x", "gone")) == [
        Client(
            "pc-1",
            "branch",
            "192.0.2.1",
            port=22,
            user="admin",
            labels=("all", "berlin", "canary", "eu", "web"),
            install_root="/var/lib/updoser",
            vars={"site": "berlin", "x": ""},
        )
    ]


SSH_WITH = {
    "nothing": {"become": False},
    "a key": {"become": False, "key_files": ("/keys/a",)},
    "a jump": {"become": False, "hops": ("[bastion]:2222", "inner")},
    "sudo": {"become": True},
    "no word of it": {},
}


def taken(demands: Any, does: Any, *, transport: Any = "ssh", **fields: Any) -> Any:
    """List a group of one client that demands something of its transport, and give what is refused."""
    entry = InventoryEntry("pc-1", groups=("web",), demands=demands)
    spec = PluginConfig("transport", transport)
    branch = GroupSpec("branch", spec, "/srv", inventory=InventorySpec(PLUGIN), **SSH_WITH[does], **fields)  # type: ignore[arg-type]
    try:
        return names(list_clients(branch, FakeInventory([entry])))
    except InventoryError as error:
        return error.message


@pytest.mark.parametrize(
    ("demands", "does"),
    [
        (Demands("ssh"), "nothing"),
        (Demands(keys=("/keys/a",)), "a key"),
        (Demands(jump=("[bastion]:2222", "inner")), "a jump"),
        (Demands(), "a jump"),
        (Demands(become=True), "sudo"),
        (Demands(become=False), "nothing"),
    ],
)
def test_a_client_whose_inventory_demands_what_its_transport_has_is_taken(demands: Any, does: str) -> None:
    assert taken(demands, does) == ["pc-1"]


@pytest.mark.parametrize(
    ("demands", "does", "words"),
    [
        (Demands("winrm"), "nothing", "it is reached by 'winrm', and the group by ssh"),
        (Demands("local"), "nothing", "it is reached by 'local', and the group by ssh"),
        (Demands(keys=("/keys/b",)), "a key", "it wants the key '/keys/b', which the group's transport doesn't name"),
        (
            Demands(jump=("bastion", "inner")),
            "a jump",
            "leads over bastion, inner, and the group's over [bastion]:2222",
        ),
        (Demands(jump=("bastion",)), "nothing", "leads over bastion, and the group's over nothing"),
        (Demands(become=True), "nothing", "it wants to become root, and the group's transport becomes nobody else"),
        (Demands(become=False), "sudo", "it wants to become nobody else, and the group's transport becomes root"),
        (Demands(become=True), "no word of it", "to become root, and the group's transport doesn't say whom"),
        (Demands(become=False), "no word of it", "to become nobody else, and the group's transport doesn't say whom"),
    ],
)
def test_a_client_whose_inventory_demands_something_else_is_refused_by_name(
    demands: Any, does: str, words: str
) -> None:
    said = taken(demands, does)
    assert said.startswith("the client pc-1 in the inventory of the group branch can't be reached as that says: ")
    assert words in said


def test_a_client_that_is_reached_by_ssh_is_taken_by_every_transport_that_speaks_it() -> None:
    assert taken(Demands("ssh"), "nothing", transport="another", speaks="ssh") == ["pc-1"]
    assert "and the group by another" in taken(Demands("winrm"), "nothing", transport="another", speaks="ssh")


def test_what_cannot_be_reached_is_refused_where_it_is_selected_and_nowhere_else() -> None:
    fleet = [
        InventoryEntry("pc-1", groups=("web",)),
        InventoryEntry("pc-2", groups=("net",), unfit="ansible_host is vaulted"),
        InventoryEntry("pc-3", groups=("net",), demands=Demands("network_cli")),
    ]
    assert names(listed(fleet, select="web")) == ["pc-1"]
    with pytest.raises(InventoryError) as caught:
        listed(fleet)
    assert "the client pc-2" in caught.value.message
    assert "ansible_host is vaulted (and 1 more can't be reached as it says)" in caught.value.message
    assert "narrow `select` of the group" in caught.value.hint


@pytest.mark.parametrize("address", ["192.0.2.7", "pc-1.example"])
def test_a_machine_elsewhere_is_never_taken_for_a_folder_of_this_one(address: str) -> None:
    def listed_locally(address: Any) -> Any:
        branch = GroupSpec(
            "here", PluginConfig("transport", "local"), "/srv", inventory=InventorySpec(PLUGIN), local=True
        )
        return names(list_clients(branch, FakeInventory([InventoryEntry("pc-1", address)])))

    with pytest.raises(InventoryError, match=f"it is {address}, and the group's transport changes this machine"):
        listed_locally(address)
    for here in ("", "localhost", "127.0.0.1", "::1"):
        assert listed_locally(here) == ["pc-1"]


def test_select_takes_by_name_inventory_group_and_label() -> None:
    fleet = [
        InventoryEntry("pc-1", groups=("branch", "prod")),
        InventoryEntry("pc-2", groups=("branch", "prod", "decom")),
        InventoryEntry("pc-3", groups=("branch",)),
        InventoryEntry("pc-4", labels=("prod",), groups=("branch",)),
        InventoryEntry("pc-5", groups=("branch",), vars={"stage": "prod"}),
    ]
    chosen = listed(fleet, select="branch:&prod:!decom", labels_from=("stage",))
    assert names(chosen) == ["pc-1", "pc-4", "pc-5"]


def test_a_select_that_is_no_pattern_is_an_error_that_names_the_group() -> None:
    with pytest.raises(InventoryError, match="select of the group branch"):
        listed(entries(1), select="!")


def test_clients_of_spec_and_inventory_stand_together_and_each_name_once() -> None:
    branch = group(clients=(Client("pc-9", "branch"),), inventory=InventorySpec(PLUGIN))
    assert names(list_clients(branch, FakeInventory(entries(2)))) == ["pc-9", "pc-0", "pc-1"]
    with pytest.raises(InventoryError, match="the client pc-9 stands twice in the group branch"):
        list_clients(branch, FakeInventory([InventoryEntry("pc-9")]))


@pytest.mark.parametrize("address", ["pc-1", "PC-1."])
def test_two_clients_of_one_address_and_install_root_are_an_error_that_names_both(address: str) -> None:
    branch = group(inventory=InventorySpec(PLUGIN))
    two = FakeInventory([InventoryEntry("pc-1"), InventoryEntry("alias", address)])
    with pytest.raises(InventoryError, match="the clients pc-1 and alias are one place: the install_root /var"):
        list_fleet([(branch, two)], lambda _group: 2)
    apart = FakeInventory([InventoryEntry("pc-1"), InventoryEntry("alias", address, port=2222)])
    assert names(list_fleet([(branch, apart)], lambda _group: 2)["branch"]) == ["pc-1", "alias"]


def test_a_name_in_two_groups_is_an_error_that_names_both() -> None:
    twice = [(group(name, clients=(Client("pc-1", name),)), None) for name in ("branch", "plant")]
    with pytest.raises(InventoryError, match="pc-1 is in the group branch and in the group plant"):
        list_fleet(twice, lambda _name: 0)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (InventoryEntry(""), "name"),
        (InventoryEntry("a b"), "name"),
        (InventoryEntry("pc", vars={"a": "x", "b": "\ud800"}), "a var with half a character"),
        (InventoryEntry("a,b"), "name"),
        (InventoryEntry("!a"), "name"),
        (InventoryEntry("@failed"), "name"),
        (InventoryEntry("-oProxyCommand=x"), "name"),
        (InventoryEntry("a\x1b[2J"), "name"),
        (InventoryEntry("a\n"), "name"),
        (InventoryEntry("a" * 254), "name"),
        (InventoryEntry("a", "-oProxyCommand=x"), "address"),
        (InventoryEntry("a", "192.0.2.1 x"), "address"),
        (InventoryEntry("a", "host\n"), "address"),
        (InventoryEntry("a", port=0), "port"),
        (InventoryEntry("a", port=65536), "port"),
        (InventoryEntry("a", user="-l"), "user"),
        (InventoryEntry("a", user="a b"), "user"),
        (InventoryEntry("a", labels=("x\x00",)), "label"),
        (InventoryEntry("a", labels=("x" * 256,)), "label"),
        (InventoryEntry("a", groups=("",)), "label"),
    ],
)
def test_what_can_not_be_a_client_is_an_error_that_names_it_and_is_fit_to_be_shown(entry: Any, words: str) -> None:
    with pytest.raises(InventoryError) as caught:
        listed([entry], labels_from=("groups",))
    assert words in caught.value.message
    assert "branch" in caught.value.message
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "fe80::1%eth0", "::1", "host-1.example.", "a_b"])
def test_host_names_and_addresses_of_both_families_are_addresses(address: str) -> None:
    assert listed([InventoryEntry("a", address)])[0].address == address


def test_an_inventory_that_lists_nothing_is_an_error_and_not_an_empty_fleet() -> None:
    with pytest.raises(InventoryError, match="the inventory of the group branch lists no clients"):
        listed([], min_clients=0)


def test_an_inventory_that_breaks_is_an_error_that_names_the_group() -> None:
    branch = group(inventory=InventorySpec(PLUGIN))
    fake = FakeInventory()
    fake.error = LookupError("no such key")  # type: ignore[assignment]
    with pytest.raises(InventoryError, match="the inventory of the group branch broke: LookupError: no such key"):
        list_clients(branch, fake)
    fake.error = InventoryError("fleet.csv:3: it isn't UTF-8")
    with pytest.raises(InventoryError, match=r"^fleet\.csv:3: it isn't UTF-8$"):
        list_clients(branch, fake)


def test_an_inventory_without_end_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observed, "MAX_CLIENTS", 10)
    with pytest.raises(InventoryError, match="more than 10 clients"):
        listed(entries(11))


def test_fewer_clients_than_min_clients_are_refused_with_the_counts() -> None:
    with pytest.raises(InventoryShrankError) as caught:
        listed(entries(5), min_clients=6)
    assert caught.value.exit_code == 5
    assert "has 5 clients from its inventory, and min_clients is 6" in caught.value.message


def test_a_select_that_takes_nobody_is_refused_and_says_so() -> None:
    with pytest.raises(InventoryShrankError, match="selects 0 of them"):
        listed(entries(5), select="srv-*")


@pytest.mark.parametrize(
    ("known", "now", "limit", "believed"),
    [
        (0, 1, 0, True),
        (100, 95, 0.05, True),
        (100, 94, 0.05, False),
        (100, 71, 0.29, True),
        (100, 70, 0.29, False),
        (100, 97, 3, True),
        (100, 96, 3, False),
        (100, 99, 0, False),
        (100, 90, None, True),
        (100, 89, None, False),
        (8, 7, None, True),
        (8, 6, None, False),
        (5, 500, 0, True),
    ],
)
def test_a_list_may_lose_max_shrink_of_the_clients_known_before_and_no_more(
    known: int, now: int, limit: float | None, believed: bool
) -> None:
    if believed:
        assert len(fleet_of(now, known, max_shrink=limit)["branch"]) == now
        return
    with pytest.raises(InventoryShrankError) as caught:
        fleet_of(now, known, max_shrink=limit)
    assert f"had {known} clients and its inventory now leaves {now}: {known - now} fewer" in caught.value.message
    assert "--allow-shrink" in caught.value.hint


def test_a_list_that_shrank_is_believed_when_the_operator_says_so() -> None:
    assert len(fleet_of(1, 100, max_shrink=0, allow_shrink=True)["branch"]) == 1


def test_allowing_a_list_to_shrink_does_not_make_min_clients_go_away() -> None:
    with pytest.raises(InventoryShrankError, match="min_clients is 2"):
        fleet_of(1, 100, min_clients=2, allow_shrink=True)


def test_clients_that_were_taken_out_of_the_spec_itself_are_no_shrinking_inventory() -> None:
    branch = group(clients=(Client("pc-1", "branch"),))
    assert names(list_fleet([(branch, None)], lambda _name: 100)["branch"]) == ["pc-1"]


@given(
    st.lists(st.builds(InventoryEntry, st.text(max_size=4), st.text(max_size=6), groups=st.tuples(st.text(max_size=3))))
)
def test_any_entries_are_clients_of_unique_printable_names_or_an_error(fleet: Any) -> None:
    try:
        clients = listed(fleet, labels_from=("groups",))
    except InventoryError:
        return
    assert len(set(names(clients))) == len(clients) == len(fleet)
    assert all(client.name.isprintable() and client == replace(client, group="branch") for client in clients)
