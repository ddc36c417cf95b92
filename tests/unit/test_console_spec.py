"""The `console` of the spec: what its process reads of a file, and what can't be."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.errors import SpecError
from reconciler.model.secret import SecretRef
from reconciler.specfile.console import ConsoleFile, load_console
from reconciler.specfile.load import load_spec
from reconciler.specfile.safety import losses

OIDC = {"issuer": "https://login.example", "client_id": "updoser"}
ALL_MAY_LOOK = {"roles": {"viewer": ["*"]}}


def read(folder: Path, console: Any, **more: Any) -> ConsoleFile:
    path = folder / "updoser.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "console": console, **more}))
    return load_console(path, variables={}, environ={})


def refused(folder: Path, console: Any, **more: Any) -> str:
    with pytest.raises(SpecError) as caught:
        read(folder, console, **more)
    return str(caught.value)


def test_a_file_without_a_word_about_it_is_enough(tmp_path: Path) -> None:
    found = read(tmp_path, {})
    assert found.server.state == f"sqlite:///{tmp_path}/.updoser/state.db"
    assert (found.console.public_url, found.console.oidc, found.console.tokens) == ("", None, ())


def test_what_is_wrong_or_missing_for_the_fleet_does_not_keep_the_console_from_starting(tmp_path: Path) -> None:
    groups = {"all": {"transport": {"type": "nonsense", "password": {"env": "NOWHERE"}}, "labels": "{{ env('NOT') }}"}}
    found = read(tmp_path, {"four_eyes": True}, groups=groups, sources=[{"name": "?"}], catalogs=["not.there"])
    assert found.console.four_eyes
    assert found.secret_variables == {"NOWHERE"}


def test_the_fleet_needs_no_secret_of_the_console_and_the_console_none_of_the_fleet(tmp_path: Path) -> None:
    secret = {"env": "NOT_SET_ANYWHERE"}
    console = {"sign_in": {"oidc": {**OIDC, "client_secret": secret}}, "public_url": "https://c.example"}
    assert "NOT_SET_ANYWHERE isn't set" in refused(tmp_path, {**console, **ALL_MAY_LOOK})
    (tmp_path / "updoser.yaml").write_text(
        yaml.safe_dump({"version": 1, "catalogs": ["officescan"], "console": {**console, **ALL_MAY_LOOK}})
    )
    oidc = load_spec(tmp_path / "updoser.yaml", environ={}).console.oidc
    assert oidc is not None
    assert oidc.client_secret == SecretRef("env", "NOT_SET_ANYWHERE")


def test_the_console_opens_the_state_by_a_role_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("word")
    own = {"url": "postgresql+psycopg://console@db/updoser", "password": {"file": "db"}}
    fleet = {"state": {"url": "postgresql+psycopg://updoser@db/updoser", "password": {"file": "not-there"}}}
    found = read(tmp_path, {"state": own}, server=fleet).server
    assert (found.state, found.state_password) == (own["url"], SecretRef("file", "db"))
    assert "not-there isn't there" in refused(tmp_path, {}, server=fleet)


@pytest.mark.parametrize(
    ("console", "says"),
    [
        ({"public_url": "http://c.example"}, "open to all on the way"),
        ({"public_url": "https://c.example/path"}, "without a path"),
        ({"public_url": "https://[nonsense"}, "is no URL"),
        ({"tls": {"certificate": "c.pem"}}, "named together"),
        ({"tls": {"proxies": ["10.1.2"]}}, "`10.1.2` is no address or network"),
        ({"tls": {"proxies": ["0.0.0.0/0"]}}, "`0.0.0.0/0` is everybody"),
        ({"sign_in": {"oidc": OIDC}, **ALL_MAY_LOOK}, "where to lead people back: `public_url`"),
        ({"sign_in": {"oidc": OIDC}, "public_url": "https://c.example"}, "`console.roles` names nobody"),
        ({"sign_in": {"oidc": {**OIDC, "issuer": "http://login.example"}}, **ALL_MAY_LOOK}, "an https URL"),
        ({"sign_in": {"oidc": {**OIDC, "ca": "not.pem"}}, **ALL_MAY_LOOK}, "not.pem isn't there"),
        ({"sign_in": {"oidc": {**OIDC, "proxy": "none"}}, **ALL_MAY_LOOK}, "the proxy `none` isn't defined"),
        ({"sign_in": {"proxy": {"header": "X-User", "from": ["10.0.0.1"]}}}, "`console.roles` names nobody"),
        ({"sign_in": {"proxy": {"header": "X-User"}}}, "from"),
        ({"sign_in": {"tokens": [{"name": "ci", "roles": ["viewer"]}]}}, "needs a `secret` or its `sha256`"),
        ({"sign_in": {"tokens": [{"name": "ci", "roles": ["king"], "sha256": "0" * 64}]}}, "king"),
        ({"sign_in": {"tokens": [{"name": "ci", "roles": ["viewer"], "sha256": "0" * 64}] * 2}}, "another token `ci`"),
        ({"hook": {"secret": {"env": "NOT_SET_ANYWHERE"}}}, "NOT_SET_ANYWHERE isn't set"),
        ({"hook": {"secret": "hunter2"}}, "a secret's place"),
        ({"hook": {}}, "secret"),
        ({"four_eyes": True, "roles": {"approver": ["ann"]}}, "one person alone could approve nothing"),
    ],
)
def test_what_can_not_be_is_said_before_anybody_listens(tmp_path: Path, console: Any, says: str) -> None:
    assert says in refused(tmp_path, console)


def test_a_change_that_gives_people_more_is_said() -> None:
    before = {"console": {"four_eyes": True, "roles": {"approver": ["ann"], "viewer": ["ann"]}}}
    after = {"console": {"four_eyes": False, "roles": {"approver": ["ann", "mallory"], "viewer": ["*"]}}}
    assert [says for _path, says in losses(before, after)] == [
        "console: one person alone can approve",
        "console.roles: more people may approve: mallory",
    ]
    assert list(losses(after, before)) == []
