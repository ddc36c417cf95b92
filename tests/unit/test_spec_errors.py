"""Everything that can be wrong with a spec has a message of its own, with its place."""

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from reconciler.errors import SpecError, UsageError
from reconciler.specfile.load import load
from reconciler.specfile.variables import parse_variables

DATA = Path(__file__).parent / "data/examples"
HEAD = "version: 1\n"
REPOSITORY = "repository: {path: p, keys: {root: [{env: A}], online: {env: A}}"
GROUP = "groups: {g: {transport: {type: local}, install_root: c, clients: [{name: a}]}}\n"
SITE = "{groups: [g], executor: {type: threads}}"


def problems_of(folder: Path, text: str, **options: Any) -> Any:
    file = folder / "updoser.yaml"
    file.write_text(text, encoding="utf-8")
    options = {"environ": {}, **options}
    try:
        load(file, **options)
    except SpecError as error:
        return [str(problem).replace(f"{folder}/", "") for problem in error.problems]
    return []


def only_problem(folder: Path, text: str, **options: Any) -> Any:
    found = problems_of(folder, text, **options)
    assert len(found) == 1, found
    return found[0]


CASES = {
    "unknown key": (
        "groups: {g: {scan_metod: smart, transport: {type: local}, install_root: c, clients: [{name: a}]}}",
        "unknown key `scan_metod`",
        "did you mean `scan_method`?",
    ),
    "unknown option of a plugin": (
        "sources: [{name: s, type: directory, path: x, setle: 10s}]",
        "unknown key `setle`",
        "did you mean `settle`?",
    ),
    "missing option of a plugin": ("sources: [{name: s, type: directory}]", "`path` is missing", ""),
    "unknown plugin": (
        "sources: [{name: s, type: directoryy}]",
        "there is no source plugin `directoryy`",
        "`directory`",
    ),
    "duplicate key": ("client_keep: 2\nclient_keep: 3", "the key `client_keep` stands here twice", "in line 2"),
    "tab": ("server:\n\tstore: x", "a tab can't indent YAML", "use spaces"),
    "version as a number": (
        "components: {virus-scan-engine: {version: 9.10}}",
        "`9.10` is read by YAML as the number 9.1",
        'quote it: "9.10"',
    ),
    "version as a plain number": ("components: {virus-scan-engine: {version: 9}}", "the number 9", 'quote it: "9"'),
    "mode as octal": (
        "components: {virus-pattern: {install: [{to: /opt/x, mode: 0644}]}}",
        "`0644` is read by YAML as the number 420 (octal)",
        'quote it: "0644"',
    ),
    "date": ("hold: [{clients: a, reason: b, until: 2026-12-01}]", "read by YAML as a date", 'quote it: "2026-12-01"'),
    "on": ("hold: [{clients: a, reason: on}]", "`on` is read by YAML as true", 'quote it: "on"'),
    "time in sixties": ("hold: [{clients: a, reason: 12:30}]", "in sixties", 'quote it: "12:30"'),
    "unquoted template": ("vars: {x: y}\nserver: {store: {{ x }}}", "", "quote"),
    "unknown component": (
        "components: {virus-patern: {version: latest}}",
        "no catalog has a component `virus-patern`",
        "did you mean `virus-pattern`?",
    ),
    "bad version": (
        "components: {virus-pattern: {version: '1.2'}}",
        "`1.2` is no version of virus-pattern",
        "16.679.00",
    ),
    "a blocked version that is none": (
        "components: {virus-pattern: {block: [{version: '1', reason: x}]}}",
        "`1` is no version of virus-pattern",
        "16.679.00",
    ),
    "a version that is blocked twice": (
        "components: {virus-pattern: {block: [{version: '1.100.00', reason: x}, {version: '1.100.00', reason: y}]}}",
        "blocked twice",
        "",
    ),
    "a block without a reason": (
        "components: {virus-pattern: {block: [{version: '1.100.00'}]}}",
        "`reason` is missing",
        "",
    ),
    "too far behind": ("components: {virus-pattern: {version: latest-3}}", "no version of", "`latest-2`"),
    "no age": ("components: {virus-pattern: {min_age: young}}", "isn't a duration", ""),
    "no day for a snapshot": ("components: {virus-pattern: {snapshot: '2026-02-30'}}", "no day of the calendar", ""),
    "unknown catalog": ("catalogs: [officscan]", "there is no catalog `officscan`", "`officescan`"),
    "group without clients": (
        "groups: {g: {transport: {type: local}, install_root: c}}",
        "the group `g` has no clients",
        "inventory",
    ),
    "two clients of one name": (
        "groups: {g: {transport: {type: local}, install_root: c, clients: [{name: a}, {name: a}]}}",
        "there is another client `a`",
        "updoser.yaml:2",
    ),
    "a site of a group that isn't there": (
        f"{GROUP}sites: {{lyon: {{groups: [h], executor: {{type: threads}}}}}}",
        "there is no group `h`",
        "",
    ),
    "a group of two sites": (
        f"{GROUP}sites: {{a: {SITE}, b: {SITE}}}",
        "the group `g` is of the site `a`, too",
        "updoser.yaml:3",
    ),
    "a group that stands twice in a site": (
        f"{GROUP}sites: {{a: {{groups: [g, g], executor: {{type: threads}}}}}}",
        "the group `g` is listed twice",
        "updoser.yaml:3",
    ),
    "a site without an executor": (f"{GROUP}sites: {{a: {{groups: [g]}}}}", "`executor` is missing", ""),
    "a site with an executor that isn't there": (
        f"{GROUP}sites: {{a: {{groups: [g], executor: {{type: treads}}}}}}",
        "there is no executor plugin `treads`",
        "`threads`",
    ),
    "a site with a name that is none": (
        f"{GROUP}sites: {{Lyon Est: {{groups: [g], executor: {{type: threads}}}}}}",
        "lower-case letters",
        "",
    ),
    "no install_root": ("groups: {g: {transport: {type: local}, clients: [{name: a}]}}", "no install_root", "defaults"),
    "relative install_root": (
        "groups: {g: {transport: {type: ssh}, install_root: c, clients: [{name: a}]}}",
        "`c` is no absolute folder",
        "",
    ),
    "a secret that is missing": (
        "groups: {g: {transport: {type: ssh, password: {env: PASS}}, install_root: /c, clients: [{name: a}]}}",
        "the environment variable PASS isn't set",
        "",
    ),
    "a key that is missing": (
        "groups: {g: {transport: {type: ssh, keys: [{file: k}]}, install_root: /c, clients: [{name: a}]}}",
        "the file k isn't there",
        "",
    ),
    "undefined variable": (
        "server: {store: '{{ sto }}'}\nvars: {store: x}",
        "the variable `sto` isn't defined",
        "store",
    ),
    "env without prefix": ("server: {store: \"{{ env('HOME') }}\"}", "UPDOSER_VAR_", ""),
    "unset env": ("server: {store: \"{{ env('UPDOSER_VAR_X') }}\"}", "UPDOSER_VAR_X isn't set", ""),
    "a template that would take for ever": ("server: {store: \"{{ 'a' * 10**9 }}\"}", "template", ""),
    "a template that shows a function": ('server: {store: "{{ env }}"}', "env is called", ""),
    "a template that replaces more than there is room for": (
        "vars: {x: '" + "a" * 4000 + "'}\nserver: {store: \"{{ x|replace('a', 'bbbbbbbbbbbbbbbbbbbb') }}\"}",
        "longer than 65536 characters",
        "",
    ),
    "a template that joins too much": (
        "vars: {x: '" + "a" * 4000 + "'}\nserver: {store: \"{{ (" + "x ~ " * 20 + 'x)|length }}"}',
        "longer than 65536 characters",
        "",
    ),
    "a template that makes half a character": (
        "server: {store: \"{{ '\\\\ud800' }}\"}",
        "the value has half a character",
        "",
    ),
    "a template that looks behind": ("server: {store: \"{{ ''.__class__ }}\"}", "attributes", ""),
    "two sources of one name": (
        "sources: [{name: s, type: sample, day: 1}, {name: s, type: sample, day: 2}]",
        "there is another source `s`",
        "",
    ),
    "bad hold": ("hold: [{clients: '&', reason: x}]", "mark without a name", ""),
    "bad day": ("hold: [{clients: a, reason: x, until: '2026-13-01'}]", "no day of the calendar", ""),
    "no database": ("server: {state: state.db}", "`state.db` is no database URL", "sqlite:///"),
    "a later version is wanted": ("required_version: '>=2'", "this file wants updoser >=2", ""),
    "bad enum": (
        "components: {virus-pattern: {install: [{to: /x, method: copi}]}}",
        "`copi` isn't possible here",
        "did you mean `copy`?",
    ),
    "bad target folder": ("components: {virus-pattern: {install: [{to: x}]}}", "`x` isn't an absolute folder", ""),
    "an unknown key of an install target": (
        "components: {virus-pattern: {install: [{to: /x, mod: '0644'}]}}",
        "unknown key `mod`",
        "did you mean `mode`?",
    ),
    "an install target without a folder": (
        "components: {virus-pattern: {install: [{files: x}]}}",
        "`to` is missing here",
        "",
    ),
    "replaces without install": ("components: {virus-pattern: {replaces: ['*.old']}}", "needs `install`", ""),
    "bad share": (
        "groups: {g: {transport: {type: local}, install_root: c, inventory: {type: csv, path: x, max_shrink: lots}}}",
        "`lots` isn't a share",
        "",
    ),
    "bad label": (
        "groups: {g: {transport: {type: local}, install_root: c, clients: [{name: a, labels: ['x y']}]}}",
        "`x y` isn't a label",
        "",
    ),
    "a number as text": ("client_keep: '2'", "a whole number is wanted here, not the text `2`", "without quotes: 2"),
    "a word where a number belongs": ("client_keep: two", "a whole number is wanted here, not the text `two`", ""),
    "a truth value as text": (
        "duplication: {enabled: 'false'}",
        "true or false is wanted here, not the text `false`",
        "without quotes: false",
    ),
    "a list where a map belongs": ("server: [a]", "a map is wanted here, not a list", ""),
    "one folder for two clients of an address": (
        "groups: {g: {install_root: /r, clients: [{name: a, address: H.example}, {name: b, address: h.example.}]}}",
        "`b` and `a` are one place: the install_root /r on h.example",
        "`a` stands in",
    ),
    "one folder in two groups": (
        (
            "groups: {g: {transport: {port: 22}, install_root: /r, clients: [{name: a}]},\n"
            "  h: {install_root: /s, clients: [{name: b, address: A, install_root: /r, port: 22}]}}"
        ),
        "`b` and `a` are one place: the install_root /r on A",
        "give each its own install_root",
    ),
    "one folder for two local clients": (
        "groups: {g: {transport: {type: local}, install_root: c, clients: [{name: a}, {name: b}]}}",
        "`b` and `a` are one place: the install_root ",
        "",
    ),
    "no value": ("server: {store: }", "there is no value here", ""),
    "a tag": ("server: {store: !!python/object:os.system x}", "the tag", "remove it"),
    "no such codec": ("duplication: {codecs: {zstdd: {}}}", "there is no codec `zstdd`", "did you mean `zstd`?"),
    "a codec that isn't used": (
        "duplication: {codecs: {zstd: {}}}\ncomponents: {virus-pattern: {codec: bsdiff}}",
        "the codec `bsdiff` isn't one of `duplication`",
        "there is: zstd",
    ),
    "no fulls at all": ("duplication: {keep_fulls: 0}", "0", ""),
    "a level that no codec has": ("duplication: {codecs: {zstd: {level: 99}}}", "99", ""),
    "an unknown stage": ("auto_update: {stage: earyl}", "`earyl` isn't possible here", "did you mean `early`?"),
    "an unknown exception of a blackout": (
        "auto_update: {blackouts: [{from: '2026-12-18', to: '2026-12-19', reason: x, except: [expedit]}]}",
        "`expedit` isn't possible here",
        "did you mean `expedite`?",
    ),
    "a schedule that isn't there": ("auto_update: {trigger: schedule}", "needs a `schedule`", ""),
    "an unknown zone": (
        "auto_update: {schedule: {every: day, timezone: Europe/Berln}}",
        "there is no time zone `Europe/Berln`",
        "did you mean `Europe/Berlin`?",
    ),
    "an hour that no day has": (
        "auto_update: {schedule: {every: day, at: '25:00'}}",
        "`25:00` is no time of the day",
        "01:30",
    ),
    "an hour without quotes": ("auto_update: {schedule: {every: day, at: 12:00}}", "in sixties", 'quote it: "12:00"'),
    "a week without days": ("auto_update: {schedule: {every: week}}", "needs `days`", "[tue]"),
    "an interval of days": ("auto_update: {schedule: {every: 48h}}", "isn't between a minute and a day", "`week`"),
    "a spread that overlaps": ("auto_update: {schedule: {every: 1h, spread: 2h}}", "can't be longer", ""),
    "a window of no time": (
        "auto_update: {windows: [{from: '01:00', to: '01:00'}]}",
        "this window ends when it begins",
        "",
    ),
    "a blackout that ends first": (
        "auto_update: {blackouts: [{from: '2027-01-04', to: '2026-12-18', reason: x}]}",
        "ends before it begins",
        "",
    ),
    "a day that isn't one": (
        "components: {'virus-pattern': {auto_update: {schedule: {every: day, days: [tues]}}}}",
        "`tues` isn't possible here",
        "did you mean `tue`?",
    ),
    "a source without a pinned root": (
        "sources: [{name: v, type: tuf, url: 'https://u.example/repo'}]",
        "`trusted_root` is missing",
        "",
    ),
    "no URL": ("sources: [{name: v, type: tuf, url: x, trusted_root: r}]", "`x` isn't a URL such as", ""),
    "a rate that is none": (
        "sources: [{name: v, type: tuf, url: 'https://u.example/r', trusted_root: r, limit: fast}]",
        "`fast` isn't a rate such as 10MiB/s",
        "",
    ),
    "a header that is none": (
        "sources: [{name: v, type: tuf, url: 'https://u.example/r', trusted_root: r, headers: {'X Key': k}}]",
        "`X Key` can't be a key here: the name of a header is wanted",
        "",
    ),
    "a header that is neither a text nor a secret": (
        "sources: [{name: v, type: tuf, url: 'https://u.example/r', trusted_root: r, headers: {X-Key: {envv: K}}}]",
        "`envv`",
        "did you mean `env`?",
    ),
    "a proxy that isn't defined": (
        "sources: [{name: s, type: sample, proxy: egres}]\nproxies: {egress: {url: 'http://p.example:3128'}}",
        "the proxy `egres` isn't defined",
        "did you mean `egress`?",
    ),
    "a proxy of an unknown kind": ("proxies: {p: {url: 'ftp://p.example'}}", "isn't a URL such as http://proxy", ""),
    "a proxy with a path": ("proxies: {p: {url: 'http://p.example/x'}}", "this URL names no proxy", "3128"),
    "a proxy named like a word": ("proxies: {environment: {url: 'http://p.example'}}", "can't be a key here", ""),
    "no host in no_proxy": ("proxies: {p: {url: 'http://p:1', no_proxy: ['10.0.0.0/99']}}", "no network", ""),
    "a password without a user": ("proxies: {p: {url: 'http://p:1', password: {env: HOME}}}", "needs a `username`", ""),
    "an unknown family": ("server: {families: [ipv5]}", "`ipv5` isn't possible here", "did you mean"),
    "more signatures than keys": (
        "repository: {path: p, keys: {root: [{env: A}], threshold: 2, online: {env: A}}}",
        "2 of 1 root keys can't sign",
        "",
    ),
    "a repository without keys": ("repository: {path: p}", "`keys` is missing here", ""),
    "a key that only another layout has": (f"{REPOSITORY}, cdiffs: 3}}", "unknown key `cdiffs`", ""),
    "keys of a layout that doesn't sign with them": (
        f"{REPOSITORY}, layout: clamav}}",
        "unknown key `keys`: only the layout tuf signs with them",
        "",
    ),
    "a layout that nobody made": ("repository: {path: p, layout: clamv}", "no layout plugin `clamv`", "`clamav`"),
    "an option of a layout of another type": (
        "repository: {path: p, layout: clamav, cdiffs: some}",
        "a whole number is wanted here",
        "",
    ),
    "a mistyped option of a layout": ("repository: {path: p, layout: tree, kep: 3}", "unknown key `kep`", "`keep`"),
    "two repositories of one name": (
        "repositories: [{path: p, layout: tree}, {path: q, layout: tree}]",
        "there is another repository `tree`",
        "give one of them another `name`",
    ),
    "two repositories in one folder": (
        "repositories: [{path: p/a, layout: tree}, {path: p, layout: clamav}]",
        "another repository has the folder p/a",
        "each wants a folder of its own",
    ),
    "a second signed repository": (
        "repositories: [{path: p, layout: tuf}]",
        "only `repository` can have the layout tuf",
        "",
    ),
    "a component of a repository that no catalog has": (
        "repository: {path: p, layout: tree, components: [virus-patern]}",
        "virus-patern",
        "did you mean `virus-pattern`?",
    ),
    "a withdrawal of nothing": (
        f"{REPOSITORY}, withdraw: [{{component: virus-patern, version: '1.100.00', reason: x}}]}}",
        "no catalog has a component `virus-patern`",
        "did you mean `virus-pattern`?",
    ),
    "a withdrawal of no version": (
        f"{REPOSITORY}, withdraw: [{{component: virus-pattern, version: '1', reason: x}}]}}",
        "`1` is no version of virus-pattern",
        "16.679.00",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_has_a_message_a_place_and_a_hint(case: Any, tmp_path: Path) -> None:
    text, message, hint = CASES[case]
    found = only_problem(tmp_path, f"{HEAD}{text}\n", environ={"A": "x", "HOME": "/"})
    assert re.match(r"updoser\.yaml:\d+:\d+: ", found), found
    assert message in found
    assert hint in found
    assert "^" in found


@pytest.mark.parametrize("own", ["port: 2222", "user: other", "address: 192.0.2.8", "install_root: /other"])
def test_clients_that_differ_in_what_leads_to_their_folder_are_two(tmp_path: Path, own: str) -> None:
    more = ", ".join(dict.fromkeys(("name: b", *([] if "address" in own else ["address: 192.0.2.7"]), own)))
    text = f"groups: {{g: {{install_root: /r, clients: [{{name: a, address: 192.0.2.7}}, {{{more}}}]}}}}\n"
    assert problems_of(tmp_path, HEAD + text) == []


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("version: '1'\n", "the text `1` isn't possible here", "without quotes: 1"),
        ("version: 2\n", "only `1` is possible here, not `2`", ""),
        ("version: true\n", "only `1` is possible here, not `true`", ""),
    ],
)
def test_a_number_is_told_from_the_text_that_looks_like_it(tmp_path: Path, text: str, message: str, hint: str) -> None:
    found = only_problem(tmp_path, text)
    assert message in found
    assert hint in found


HOMELESS = {
    "store": "server: {store: ~nobody-here/x}",
    "catalog": "catalogs: [officescan, ~nobody-here/x]",
    "plugin folder": "plugins: [~nobody-here/x]",
    "template": (
        "groups: {g: {transport: {type: local}, install_root: c, clients: [{name: a}], "
        "settings: [{template: ~nobody-here/x, path: /etc/a}]}}"
    ),
    "local install_root": "groups: {g: {transport: {type: local}, install_root: ~nobody-here/x, clients: [{name: a}]}}",
    "secret": (
        "groups: {g: {transport: {type: ssh, keys: [{file: ~nobody-here/x}]}, install_root: /c, clients: [{name: a}]}}"
    ),
    "repository": REPOSITORY.replace("path: p", "path: ~nobody-here/x") + "}",
    "certificates of a proxy": "proxies: {p: {url: 'https://p.example:3129', ca: ~nobody-here/x}}",
}


@pytest.mark.parametrize("case", HOMELESS)
def test_a_path_in_the_home_of_somebody_who_is_not_there_is_told_with_its_place(case: Any, tmp_path: Path) -> None:
    found = problems_of(tmp_path, f"{HEAD}{HOMELESS[case]}\n", environ={"A": "x"})
    told = [problem for problem in found if "`~nobody-here/x` is in no home: there is no user `nobody-here`" in problem]
    assert len(told) == 1, found
    assert re.match(r"updoser\.yaml:\d+:\d+: ", told[0])


NOT_PATHS = {
    "a name that is too long": ("./" + "a" * 300, "File name too long"),
    "a circle of links": ("loop/x", "Too many levels of symbolic links"),
}


@pytest.mark.parametrize("where", HOMELESS)
@pytest.mark.parametrize("case", NOT_PATHS)
def test_a_path_at_which_nothing_can_be_is_told_with_its_place(case: Any, where: Any, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    path, why = NOT_PATHS[case]
    found = problems_of(tmp_path, f"{HEAD}{HOMELESS[where].replace('~nobody-here/x', path)}\n", environ={"A": "x"})
    told = [problem for problem in found if "is no path" in problem and why in problem]
    assert len(told) == 1, found
    assert re.match(r"updoser\.yaml:\d+:\d+: ", told[0])


AFTER_A_MISTAKE = {
    "a map that is a number": ("duplication: 1\nclient_keep: none", ["2", "3"]),
    "a way that leads nowhere": (
        "groups: {g: {transport: {type: ssh, jump: [x]}, install_root: /c, clients: [{name: a}]}}\nclient_keep: none",
        ["2", "3"],
    ),
    "a key without a file": (
        "groups: {g: {transport: {type: ssh, keys: [{file: }]}, install_root: /c, clients: [{name: a}]}}\nhold: 1",
        ["2", "3"],
    ),
    "a share that is none": (
        (
            "groups: {g: {transport: {type: ssh}, install_root: /c, inventory: {type: csv, path: x, max_shrink: x5%}}}"
            "\nhold: [{clients: '@', reason: x}]"
        ),
        ["2", "3"],
    ),
    "a catalog's scheme that is a list": ("catalogs: [own.yaml]\nclient_keep: none", ["3", "4", "4"]),
}


@pytest.mark.parametrize("case", AFTER_A_MISTAKE)
def test_what_stands_behind_a_mistake_is_judged_too(case: Any, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "version: 1\nname: own\ncomponents:\n  - {id: x, name: x, kind: pattern, version_scheme: [dotted]}\n"
    )
    text, lines = AFTER_A_MISTAKE[case]
    found = problems_of(tmp_path, f"{HEAD}{text}\n")
    assert sorted(problem.split(":")[1] for problem in found) == lines, found


@pytest.mark.parametrize("name", ["x/" * 3000 + "x", "Europe", "../../etc/passwd", "tzdata.zi", "x.y"])
def test_a_name_that_no_time_zone_can_have_is_told(name: str, tmp_path: Path) -> None:
    for text in (
        f'auto_update: {{windows: [{{from: "01:00", to: "02:00", timezone: "{name}"}}]}}',
        f'auto_update: {{trigger: schedule, schedule: {{every: 7h, timezone: "{name}"}}}}',
    ):
        assert "there is no time zone" in only_problem(tmp_path, f"{HEAD}{text}\n")


def test_a_mistake_is_told_once_and_in_words_of_the_file(tmp_path: Path) -> None:
    found = only_problem(tmp_path, HEAD + 'catalogs: ["{% set x = 1 %}"]\n')
    assert "a template can't use {% set %}" in found


def test_text_that_nothing_can_hold_is_refused_where_it_stands(tmp_path: Path) -> None:
    found = only_problem(tmp_path, HEAD + 'vars: {x: "a\\0b"}\n')
    assert found.startswith("updoser.yaml:2:11: this text has a NUL character in it")
    with pytest.raises(UsageError, match="half a character"):
        parse_variables(["x=a\udcffb"])


def test_the_caret_stands_below_what_is_wrong(tmp_path: Path) -> None:
    found = only_problem(tmp_path, HEAD + "server: {stor: x}\n")
    assert found.splitlines()[:3] == [
        "updoser.yaml:2:10: unknown key `stor`",
        "  2 | server: {stor: x}",
        "    |          ^",
    ]


def test_all_mistakes_are_told_at_once_in_file_order(tmp_path: Path) -> None:
    text = HEAD + "hold: [{clients: a}]\nclient_keep: none\nserver: {stor: x}\ncomponents: {x: {version: 9.10}}\n"
    found = problems_of(tmp_path, text)
    assert [line.split(":")[1] for line in found] == ["2", "3", "4", "5", "5"]


@pytest.mark.parametrize(
    "text",
    [
        "proxies: {p: {url: 'http://joe:hunter2secret@p.example:3128'}}",
        "sources: [{name: v, type: tuf, trusted_root: r, url: 'https://joe:hunter2secret@u.example/repo'}]",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_shown(text: str, tmp_path: Path) -> None:
    found = only_problem(tmp_path, f"{HEAD}{text}\n")
    assert "has a user or a password in it" in found
    assert "hunter2secret" not in found
    assert "`password" in found


def test_aliases_that_explode_are_refused(tmp_path: Path) -> None:
    bomb = "vars:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    assert "aliases expand to more than" in only_problem(tmp_path, HEAD + bomb)


def test_what_a_file_extends_is_named_where_a_mistake_stands_in_it(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("version: 1\nserver: {stor: x}\n")
    found = only_problem(tmp_path, HEAD + "extends: base.yaml\n")
    assert found.startswith("base.yaml:2:10: unknown key `stor`")


def test_files_that_extend_one_another_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("version: 1\nextends: updoser.yaml\n")
    assert "extends itself" in only_problem(tmp_path, HEAD + "extends: base.yaml\n")


def test_a_mistake_in_a_catalog_of_ones_own_has_its_place_there(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "version: 1\nname: own\ncomponents:\n  - {id: X, name: x, kind: pattern, version_scheme: dotted}\n"
    )
    found = only_problem(tmp_path, HEAD + "catalogs: [own.yaml]\n")
    assert found.startswith("own.yaml:4:10: `X` isn't an id of small letters")


EXAMPLES = ("clamav-fleet.yaml", "suricata-canary.yaml", "airgap-hq.yaml", "airgap-site.yaml")


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_fleets_are_valid(name: str) -> None:
    spec = load(DATA / name, environ={}, check_secrets=False).spec
    assert spec.policies.keys() == {(group, component) for group in spec.groups for component in spec.components}


@given(st.binary(max_size=400))
@settings(max_examples=150, deadline=None)
def test_no_bytes_break_the_reader(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "updoser.yaml"
    file.write_bytes(data)
    with pytest.raises(SpecError):
        load(file, environ={})


SEEDS = [(DATA / name).read_text(encoding="utf-8") for name in EXAMPLES]
OTHERS = sorted(path for path in DATA.rglob("*") if path.is_file() and path.name not in EXAMPLES)


@given(st.sampled_from(SEEDS), st.data())
@settings(max_examples=60, deadline=None)
def test_no_change_of_a_real_file_breaks_the_reader(tmp_path: Path, text: str, data: DataObject) -> None:
    at = data.draw(st.integers(0, len(text) - 1))
    length = data.draw(st.integers(0, 8))
    inserted = data.draw(st.text(alphabet="{}[]:,#&*!|>'\"%@`\n\t -?ax01", max_size=6))
    for other in OTHERS:  # what it names is there, so that nothing hides the mistake
        copy = tmp_path / other.relative_to(DATA)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(other.read_bytes())
    file = tmp_path / "updoser.yaml"
    file.write_text(text[:at] + inserted + text[at + length :], encoding="utf-8")
    with contextlib.suppress(SpecError):
        load(file, environ={}, check_secrets=False)


def test_settings_with_secrets_are_refused_where_others_can_read_what_is_carried(tmp_path: Path) -> None:
    folder = tmp_path / "plugins/executor"
    folder.mkdir(parents=True)
    (folder / "post.py").write_text(
        "from reconciler.contracts import Traits\n"
        "OPTIONS = {'type': 'object', 'properties': {'seal_key': {'type': 'string'}}}\n"
        "def TRAITS(options):\n    return Traits(unsealed='seal_key' not in options)\n"
        "def PLUGIN(options, context): pass\n",
        encoding="utf-8",
    )
    (tmp_path / "t.j2").touch()
    text = (
        "plugins: [plugins]\n"
        "groups: {g: {transport: {type: local}, install_root: c, clients: [{name: a}],"
        " settings: [{template: t.j2, path: /etc/t, secrets: {word: {env: WORD}}}]}}\n"
        "sites: {lyon: {groups: [g], executor: {type: post}}}"
    )
    problem = only_problem(tmp_path, f"{HEAD}{text}", environ={"WORD": "x"})
    assert "/etc/t of the group `g` has secrets, and nothing seals them for `lyon`" in problem
    assert "`seal_key`" in problem
    sealed = text.replace("type: post", "type: post, seal_key: abc")
    assert not problems_of(tmp_path, f"{HEAD}{sealed}", environ={"WORD": "x"})
