"""The forecast as a command (docs/forecast.md): it looks, compares, and changes nothing."""

import json
from pathlib import Path

from tests.fleet import Fleet


def test_a_forecast_tells_what_a_longer_soak_costs_and_changes_nothing(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, clients=3)
    fleet.release("rules", "1", rules_txt=b"one\n")
    fleet.apply()
    fleet.release("rules", "2", rules_txt=b"two\n")
    (tmp_path / "base.yaml").write_text((tmp_path / "updoser.yaml").read_text())
    fleet.write(auto_update={"rollout": {"waves": [{"count": 1, "soak": "4h"}, {"share": "100%"}]}})
    listing = fleet.listing()
    shown = fleet.run("forecast", "rules", "--base", "base.yaml", "--format", "json", "--json-into", "shown.json")
    document = json.loads(shown.out)
    assert json.loads((tmp_path / "shown.json").read_text()) == document
    (entry,) = document["releases"]
    assert (entry["version"], entry["clients"], entry["reaches"][-1]["percent"]) == ("2", 3, 100)
    assert [sentence[:55] for sentence in document["base"]] == [
        "this change brings rules 2 to 50, 95 and 100 % 4 h late"
    ]
    assert fleet.listing() == listing
    assert fleet.run("forecast", "nonsense").code == 64
    assert fleet.run("forecast", "--every", "0s").code == 64
