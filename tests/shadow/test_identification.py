"""Parameters from a history: those of the device that was there, not those of its description."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.site import Charger, Site, Taper
from services.history.store import HistoryStore
from services.shadow.identification import identify
from services.shadow.identification.estimate import Identified
from tests.cli.calling import call
from tests.shadow.altered import RUN, live_beside, site_with_shadows
from twinswarm.simulation.compose import Recording
from twinswarm.simulation.in_memory import run_in_memory
from twinswarm.simulation.runs import course_of

SITE = site_with_shadows()


def changed(site: Site, device: str, **values: Any) -> Site:
    """The site with a device of other numbers."""
    spec = site.devices[device].model_copy(update=values)
    return site.model_copy(update={"devices": {**site.devices, device: spec}})


def by_name(found: list[Identified]) -> dict[tuple[str, str, str], Identified]:
    return {(each.device, each.parameter, each.note.split(";")[0].split(",")[0]): each for each in found}


ALONE, TOGETHER = "if the others are as described", "both together"


@pytest.fixture(scope="module")
def measured() -> dict[tuple[str, str, str], Identified]:
    """Four days; the battery charges with 0.9 instead of 0.945 and moves by 0.25 kW/s after 55 s, the car's charger
    tapers from 60 % to 15 %, and answers after 12 s; described are 30 s, no ramp and no taper."""
    charger = SITE.devices["ev1"]
    assert isinstance(charger, Charger)
    hungry = {"arrival_soc_frac": 0.25, "target_soc_frac": 0.95, "soc_min_frac": 0.1, "soc_max_frac": 1.0}
    car = charger.daily[0].model_copy(update=hungry)
    site = changed(SITE, "ev1", daily=(car,), max_charge_kw=11.0, max_discharge_kw=0.0)
    real = changed(site, "bess", charge_efficiency=0.9, dead_time_s=55.0, ramp_kw_per_s=0.25)
    real = changed(real, "ev1", taper=Taper(start_soc_frac=0.6, end_power_frac=0.15), dead_time_s=12.0)
    return by_name(list(identify(live_beside(site, real, timedelta(days=4), 4).history, RUN)))


@pytest.mark.parametrize(
    ("device", "parameter", "note", "value", "within"),
    [
        ("bess", "charge_efficiency", ALONE, 0.9, 0.01),
        ("bess", "round_trip_efficiency", TOGETHER, 0.9 * 0.945, 0.005),  # a constant error of the meter cancels out
        ("bess", "dead_time_s", "", 55.0, 3.0),
        ("bess", "ramp_kw_per_s", "", 0.25, 0.02),
        ("ev1", "charge_efficiency", ALONE, 0.902, 0.012),
        ("ev1", "dead_time_s", "", 12.0, 4.0),
        ("ev1", "taper.start_soc_frac", "", 0.6, 0.02),
        ("ev1", "taper.end_power_frac", "", 0.15, 0.03),
    ],
)
def test_it_measures_the_device_that_was_there(
    measured: dict[tuple[str, str, str], Identified],
    device: str,
    parameter: str,
    note: str,
    value: float,
    within: float,
) -> None:
    found = measured[device, parameter, note]
    assert found.value == pytest.approx(value, abs=within)
    assert found.low <= found.value <= found.high
    assert found.high - found.low < 4 * within


def test_what_is_as_described_is_not_marked_and_what_explains_it_best_is_named(
    measured: dict[tuple[str, str, str], Identified],
) -> None:
    assert "explains it best" in measured["bess", "charge_efficiency", ALONE].note
    assert "explains it best" not in measured["bess", "capacity_kwh", ALONE].note
    assert measured["bess", "charge_efficiency", ALONE].differs
    assert not measured["ev1", "charge_efficiency", ALONE].differs


def test_a_car_that_never_gives_back_shows_no_round_trip(measured: dict[tuple[str, str, str], Identified]) -> None:
    assert ("ev1", "round_trip_efficiency", TOGETHER) not in measured
    assert ("ev1", "discharge_efficiency", ALONE) not in measured


def test_the_command_shows_measured_beside_described_and_refuses_a_device_without_a_store(tmp_path: Path) -> None:
    file = tmp_path / "history.sqlite"
    store = HistoryStore(file)
    run_in_memory(SITE, course_of(SITE), Recording(store))
    store.close()
    history = f"sqlite:{file}"
    done = call("identify", "--history", history, "--device", "pv", cwd=tmp_path)
    assert done.returncode == 2
    assert "the batteries and chargers of this run are" in " ".join(done.stderr.split())
    done = call("identify", "--history", history, "--json", "found.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())["parameters"]
    capacity = next(e for e in found if e["device"] == "bess" and e["parameter"] == "capacity_kwh")
    assert capacity["value"] == pytest.approx(40.0, rel=1e-6)  # nothing is in between, and nothing is left over
    assert "bess" in done.stdout and "0.945" in done.stdout
