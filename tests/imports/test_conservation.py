"""The energy of what was exported is that of what is imported: every shape, unit, step and zone."""

from datetime import UTC, date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.imports.written import Powers, comma, days, ends, table, wide
from twinswarm.imports.imported import Imported
from twinswarm.imports.options import Kind, Options, Reading, Stamp
from twinswarm.imports.reading import read_file

CHANGES = (date(2024, 3, 29), date(2024, 10, 25), date(2024, 3, 8), date(2024, 11, 1), date(2023, 12, 30))
"""Two days before a change of the clock in Europe or America, and one without a change."""
ZONES = tuple(map(ZoneInfo, ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC")))


def exported(powers: Powers, zone: ZoneInfo, how: str) -> tuple[str, Options]:
    """A file in one of the ways, and what has to be said of it."""
    local = [time.astimezone(zone) for time in powers.times]
    if how == "meter operator":
        rows = [
            [f"{t:%d.%m.%Y}", f"{t:%H:%M}", f"{t + powers.step:%H:%M}", comma(e), "W"]
            for t, e in zip(local, powers.kwh, strict=True)
        ]
        return "Zählpunkt;DE000\n" + table("Datum;von;bis;Arbeit [kWh];Status", rows), Options(reading=Reading.INTERVAL)
    if how.startswith("ends"):
        stamps = ends(powers, zone, by_clock=how.endswith("clock"))
        rows = [[f"{t:%Y-%m-%d %H:%M}", f"{p * 1000:.6f}"] for t, p in zip(stamps, powers.kw, strict=True)]
        return table("Zeit,Leistung (W)", rows, ","), Options(stamp=Stamp.END)
    if how == "offsets":
        rows = [[t.isoformat(), f"{p / 1000:.9f}"] for t, p in zip(local, powers.kw, strict=True)]
        return table("timestamp\tpower [MW]", rows, "\t"), Options()
    if how == "seconds":
        rows = [[f"{t.timestamp():.0f}", f"{e / 1000:.9f}"] for t, e in zip(powers.times, powers.kwh, strict=True)]
        return table("unix,energy MWh", rows[::-1], ","), Options(reading=Reading.INTERVAL)
    if how == "counter":
        total, readings = 4711.0, []
        for time, energy in zip([*powers.times, powers.times[-1] + powers.step], [*powers.kwh, 0.0], strict=True):
            readings.append([f"{time:%d.%m.%Y %H:%M}", comma(total)])
            total += energy
        return table("Zeit (UTC);Zählerstand kWh", readings), Options(time_zone="UTC", reading=Reading.COUNTER)
    if how == "american":
        rows = [[f"{t:%m/%d/%Y %I:%M %p}", f"{p:.6f}"] for t, p in zip(local, powers.kw, strict=True)]
        return table("Date,Demand kW", rows, ","), Options()
    if how == "summer time marked":
        rows = [
            [f"{t:%d.%m.%Y %H:%M} {'CEST' if t.dst() else 'CET'}", comma(p)]
            for t, p in zip(local, powers.kw, strict=True)
        ]
        return table("Zeit;P in kW", rows), Options()
    assert how == "wide"
    return wide(powers, zone), Options(unit="kWh", reading=Reading.INTERVAL)


HOW = (
    "meter operator",
    "ends by the clock",
    "ends",
    "offsets",
    "seconds",
    "counter",
    "american",
    "summer time marked",
    "wide",
)


def imported(text: str, zone: ZoneInfo, options: Options, encoding: str = "utf-8") -> Imported:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "own.csv"
        file.write_text(text, encoding=encoding)
        found = read_file(file, Kind.LOAD, zone, options)
    assert isinstance(found, Imported)
    return found


@pytest.mark.parametrize("how", HOW)
@settings(max_examples=6, deadline=None)
@given(
    first=st.sampled_from(CHANGES),
    zone=st.sampled_from(ZONES),
    step_min=st.sampled_from((5, 15, 30, 60)),
    values=st.lists(st.integers(0, 400_000).map(lambda n: n / 1000), min_size=5, max_size=40),
)
def test_what_was_exported_is_what_is_imported(
    how: str, first: date, zone: ZoneInfo, step_min: int, values: list[float]
) -> None:
    if how == "wide":
        zone, step_min = ZoneInfo("Europe/Rome"), 15
    if how == "summer time marked":
        zone = ZoneInfo("Europe/Berlin")
    powers = days(first, 4, step_min, zone, [1.5, *values])
    text, options = exported(powers, zone, how)
    grid = imported(text, zone, options).series["load"]
    assert (grid.start, grid.step_s) == (powers.start, step_min * 60)
    assert grid.values.tolist() == pytest.approx(powers.kw, abs=2e-4)
    assert grid.values.sum() * grid.step_s / 3600 == pytest.approx(powers.energy_kwh, rel=1e-5, abs=1e-3)


@pytest.mark.parametrize("how", HOW)
def test_nothing_is_repaired_that_is_whole(how: str) -> None:
    zone = ZoneInfo("Europe/Berlin")
    powers = days(date(2024, 10, 20), 14, 15, zone, [3.0, 7.25, 5.5, 40.0, 12.125])
    text, options = exported(powers, zone, how)
    assert imported(text, zone, options).notes.repaired == []


@pytest.mark.parametrize(("step_s", "count"), [(900, 96), (3600, 24), (300, 288)])
def test_another_step_keeps_the_energy(step_s: int, count: int) -> None:
    zone = ZoneInfo("Europe/Rome")
    powers = days(date(2024, 5, 6), 1, 15, zone, [1.0, 2.0, 4.0, 8.0, 16.0])
    text, _ = exported(powers, zone, "offsets")
    grid = imported(text, zone, Options(step_s=step_s)).series["load"]
    assert len(grid.values) == count
    assert grid.values.sum() * step_s / 3600 == pytest.approx(powers.energy_kwh, rel=1e-12)


def test_hours_that_become_quarter_hours_hold_in_each_of_their_quarters() -> None:
    """As day-ahead prices did on 1 October 2025, and some meters do when they are exchanged."""
    hours = days(date(2024, 5, 6), 3, 60, ZoneInfo("UTC"), [4.0, 8.0, 6.0])
    quarters = days(date(2024, 5, 9), 3, 15, ZoneInfo("UTC"), [1.0, 2.0, 3.0])
    both = [*zip(hours.times, hours.kwh, strict=True), *zip(quarters.times, quarters.kwh, strict=True)]
    text = table("time,kWh", [[t.isoformat(), repr(e)] for t, e in both], ",")
    grid = imported(text, ZoneInfo("UTC"), Options(reading=Reading.INTERVAL)).series["load"]
    assert grid.step_s == 900
    assert grid.values[:5].tolist() == [4.0, 4.0, 4.0, 4.0, 8.0]
    assert grid.values.sum() / 4 == pytest.approx(hours.energy_kwh + quarters.energy_kwh)


def test_readings_at_any_time_keep_the_energy_between_the_first_and_the_last_step() -> None:
    """Readings of a person: 10 kWh in 90 minutes, then 3 kWh in 30."""
    start = days(date(2024, 5, 6), 1, 60, ZoneInfo("UTC"), [0.0]).start.astimezone(UTC)
    times = [start + timedelta(minutes=m) for m in (0, 90, 120, 180)]
    text = table(
        "time,reading kWh", [[t.isoformat(), str(r)] for t, r in zip(times, (100, 110, 113, 113), strict=True)], ","
    )
    grid = imported(text, ZoneInfo("UTC"), Options(step_s=1800)).series["load"]
    assert grid.values.tolist() == pytest.approx([20 / 3, 20 / 3, 20 / 3, 6.0, 0.0, 0.0])
