"""`twinswarm tradeoff`: each objective alone is the best of all runs by its own measure; table, JSON and figure."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from sites.loader import load_site
from tests.year.test_command import SITE
from twinswarm.cli import main
from twinswarm.simulation.runs import local_course
from twinswarm.study.day import live_through

SUN = {"type": "power", "profile": "sun"}
SUNNY: dict[str, Any] = SITE | {
    "connection": {"import_limit_kw": 100, "export_limit_kw": 100, "co2_profile": "grid"},
    "tariff": {"sale": "price", "spread_eur_per_kwh": 0.02},
    "devices": {
        "bess": {"kind": "bess", "capacity_kwh": 60, "max_charge_kw": 20, "max_discharge_kw": 20},
        "load": {"kind": "meter", "profile": "base"},
        "pv": {"kind": "pv", "rated_kw": 40, "source": SUN, "forecast": SUN},
    },
    "profiles": {
        "price": {"type": "day", "values": [0.1, 0.3, 0.2, 0.25]},
        "base": {"type": "day", "values": [10.0, 25.0, 10.0, 14.0]},
        "sun": {"type": "day", "values": [0.0, 0.0, 10.0, 34.0, 30.0, 8.0, 0.0, 0.0]},
        "grid": {"type": "day", "values": [500.0, 450.0, 200.0, 150.0, 300.0, 600.0]},
    },
    "ems": {"horizon": "day", "bess_terminal_soc_frac": 0.5},
}


def test_each_objective_alone_is_the_best_of_all_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Forecasts are what happens, and every day ends as it began: so the runs are comparable."""
    monkeypatch.chdir(tmp_path)
    Path("site.yaml").write_text(json.dumps(SUNNY), encoding="utf-8")
    with pytest.raises(SystemExit) as end:
        main(["tradeoff", "site.yaml", "--json", "found.json", "--out", "drawn", "--processes", "1"])
    assert end.value.code == 0
    found = json.loads(Path("found.json").read_text(encoding="utf-8"))
    assert found["aims"] == ["CO2", "self-consumption", "peak"]
    points = {point["name"]: point for point in found["points"]}
    assert len(points) == 19
    for name, measure, sign in (
        ("cost", "cost_eur", 1),
        ("CO2 alone", "co2_import_kg", 1),
        ("self-consumption alone", "used_pv_kwh", -1),
        ("peak alone", "import_peak_kw", 1),
    ):
        best = sign * points[name][measure]
        others = {each: sign * point[measure] for each, point in points.items()}
        assert min(others.values()) >= best - 0.02, f"{name}: {best}, others {others}"
        assert max(others.values()) > best + 0.5, f"{measure} is the same for all"
    for point in points.values():
        assert point["stored_more_kwh"] == pytest.approx(0.0, abs=0.1)
        assert sum(point["plan_statuses"].values()) == 24
    shown = capsys.readouterr().out
    unproved = [name for name, point in points.items() if point["plan_statuses"].get("incumbent")]
    assert ("without a proof" in shown) == bool(unproved)
    assert "cost + CO2 at 100 €/t" in shown
    assert sorted(file.name for file in Path("drawn").iterdir()) == ["tradeoff.png", "tradeoff.svg"]


def test_pv_that_harms_nobody_is_sold_where_money_has_no_weight(tmp_path: Path) -> None:
    """By hand: 82 kW in steps of 3 h are 246 kWh, and what is sold emits nothing."""
    file = tmp_path / "site.yaml"
    ems = {"horizon": "day", "bess_terminal_soc_frac": 0.5, "objective": {"cost": 0, "co2_eur_per_t": 100}}
    file.write_text(json.dumps(SUNNY | {"ems": ems}), encoding="utf-8")
    site = load_site(str(file))
    assert math.fsum(live_through(site, local_course(site)).pv_kw) == pytest.approx(246.0, abs=0.5)
