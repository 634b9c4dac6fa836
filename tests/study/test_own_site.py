"""One's own site without storage, with BESS, with V2G and with both."""

import io
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from schemas.cycle import Course
from schemas.errors import Code
from schemas.site import Charger, Site
from sites.loader import load_site
from tests.errors import raises
from tests.twins import builders
from twinswarm.cli import main
from twinswarm.simulation.variants import Reference
from twinswarm.study.day import Day
from twinswarm.study.own_site import SiteComparison, compare_variants, course_over, rows_of, variants_of
from twinswarm.study.own_site_figure import figure_of
from twinswarm.study.own_site_table import comparison_table, notes
from twinswarm.study.variant_words import variant_notes

LOAD = {"kind": "meter", "profile": "base"}


def office(**changes: Any) -> Site:
    devices = {"bess": builders.bess(), "ev1": builders.charger(), "load": LOAD}
    return builders.site(devices, **changes)


@pytest.fixture(scope="module")
def case_6() -> SiteComparison:
    site = load_site("fit_g2v", "6")
    return compare_variants(site, course_over(site, "day", None), Reference.SMART, processes=1)


def a_day(start: datetime, pcc_kw: list[float], **changes: Any) -> Day:
    steps = len(pcc_kw)
    flat = (0.0,) * steps
    given = {
        "cost_eur": 10.0,
        "import_kwh": sum(pcc_kw) / 4,
        "export_kwh": 0.0,
        "losses_kwh": 0.0,
        "times": tuple(start + i * timedelta(minutes=15) for i in range(steps)),
        "pcc_kw": tuple(pcc_kw),
        **dict.fromkeys(("load_kw", "pv_kw", "bess_kw", "cars_kw", "losses_kw"), flat),
        **dict.fromkeys(("bess_soc_frac", "cars_soc_frac"), (None,) * (steps + 1)),
        "purchase_eur_per_kwh": (0.2, 0.4) * (steps // 2),
        "sale_eur_per_kwh": flat,
        "bess_stored_kwh": 0.0,
        "cars_stored_kwh": 0.0,
        "bess_end_soc_frac": {},
        "cars_discharged_kwh": 0.0,
        "departure_shortfall_kwh": 0.0,
        "statuses": {},
    }
    return Day(**(given | changes))


@pytest.mark.parametrize(
    ("name", "saved_eur", "psf"), [("BESS", 2.55, 0.920), ("V2G", 6.71, 0.826), ("BESS and V2G", 7.53, 0.784)]
)
def test_savings_are_those_of_the_study(case_6: SiteComparison, name: str, saved_eur: float, psf: float) -> None:
    """Case 6 as the README's table has it."""
    (row,) = (row for row in case_6.rows if row.name == name)
    assert row.savings_eur == pytest.approx(saved_eur, abs=0.005)
    assert row.psf == pytest.approx(psf, abs=5e-4)


def test_the_demand_charge_is_of_each_month_and_stored_energy_stands_beside_the_money() -> None:
    """12 €/kW on 40 kW in May and 30 in June, against 50 and 20; 8 kWh more in the cells at a mean of 0.30 €/kWh."""
    tariff = {"sale": "price", "spread_eur_per_kwh": 0.1, "demand_charge_eur_per_kw": 12.0}
    site = office(tariff=tariff)
    start = datetime(2024, 5, 31, 21, 30, tzinfo=UTC)  # half an hour before June
    none = a_day(start, [50.0, 10.0, 20.0, 0.0], cost_eur=10.0)
    stored = a_day(start, [40.0, 10.0, 30.0, 0.0], cost_eur=9.0, bess_stored_kwh=9.0, cars_stored_kwh=-1.0)
    first, row = rows_of(site, {"none": none, "BESS": stored})
    assert (first.demand_eur, row.demand_eur) == (12 * 70.0, 12 * 70.0)
    assert row.savings_eur == 1.0
    assert row.stored_more_kwh == 8.0
    assert row.stored_more_eur == pytest.approx(2.4)
    assert row.psf == pytest.approx((40 / 50 + 10 / 10 + 30 / 20) / 3)
    (_, without) = rows_of(office(), {"none": none, "BESS": replace(stored, cost_eur=12.0)})
    assert (without.demand_eur, without.savings_eur) == (None, -2.0)


def test_co2_and_wear_have_their_columns_only_where_they_are_known() -> None:
    """Beside the money, in the table and in JSON; the words below the table say what they are."""
    start = datetime(2024, 5, 17, 22, tzinfo=UTC)
    none, with_bess = a_day(start, [50.0, 10.0]), a_day(start, [40.0, 20.0])
    course = Course(start, start + timedelta(minutes=30), 900)

    def shown(*days: Day) -> tuple[SiteComparison, str]:
        rows = rows_of(office(), dict(zip(("none", "BESS"), days, strict=True)))
        found = SiteComparison(office(), course, Reference.SMART, rows)
        console = Console(width=160, record=True, file=io.StringIO())
        console.print(comparison_table(found))
        return found, "\n".join([console.export_text(), *notes(found)])

    _, plain = shown(none, with_bess)
    assert "CO2" not in plain and "wear" not in plain.lower()
    found, whole = shown(
        replace(none, co2_import_kg=120.0, calendar_wear_eur=0.5),
        replace(with_bess, co2_import_kg=98.5, wear_eur=0.25, calendar_wear_eur=0.75),
    )
    row = next(line for line in whole.splitlines() if line.startswith("│ BESS"))
    cells = [cell.strip() for cell in row.split("│")]
    assert cells[4:6] == ["0.25", "0.75"] and cells[-2] == "98.5"
    assert "Wear: by the throughput" in whole and "Calendar wear: of BESS and plugged vehicles" in whole
    told = found.to_json()["variants"][1]
    assert (told["co2_import_kg"], told["wear_eur"], told["calendar_wear_eur"]) == (98.5, 0.25, 0.75)


def test_variants_are_those_that_the_site_can_have() -> None:
    assert list(variants_of(office(), Reference.UNCONTROLLED)) == [
        *("none", "smart charging", "BESS", "V2G", "BESS and V2G")
    ]
    assert list(variants_of(office(), Reference.NO_CARS)) == ["none", "BESS", "V2G", "BESS and V2G"]
    one_way = builders.site({"ev1": builders.charger(max_discharge_kw=0.0), "load": LOAD})
    assert list(variants_of(one_way, Reference.UNCONTROLLED)) == ["none", "smart charging"]
    assert list(variants_of(load_site("heatpump"), Reference.UNCONTROLLED)) == ["none", "controlled"]
    with raises(Code.EMPTY, "nothing to compare"):
        variants_of(builders.site({"load": LOAD}), Reference.UNCONTROLLED)


def test_what_the_ems_may_not_control_has_no_variant() -> None:
    """It would equal none."""
    obeying_nobody = builders.charger(controllable=False)
    devices = {"bess": builders.bess(), "ev1": obeying_nobody, "load": LOAD}
    assert list(variants_of(builders.site(devices), Reference.UNCONTROLLED)) == ["none", "BESS"]
    mixed = builders.site(devices | {"ev2": builders.charger(max_discharge_kw=0.0)})
    assert list(variants_of(mixed, Reference.UNCONTROLLED)) == ["none", "smart charging", "BESS"]
    heated = load_site("heatpump")
    thermostat = heated.devices["heatpump"].model_copy(update={"controllable": False})
    for site in (
        builders.site({"ev1": obeying_nobody, "load": LOAD}),
        heated.model_copy(update={"devices": heated.devices | {"heatpump": thermostat}}),
    ):
        with raises(Code.EMPTY, "nothing to compare"):
            variants_of(site, Reference.UNCONTROLLED)


def test_notes_speak_of_what_the_site_has() -> None:
    def said(site: Site, reference: Reference = Reference.UNCONTROLLED) -> str:
        return " ".join(variant_notes(site, reference, variants_of(site, reference)))

    both = said(office())
    assert both.startswith("none: cars charge at once and at full power; no BESS, no V2G. Savings")
    assert "BESS: the cars charge as with none." in both and "V2G's own" in both
    heated = said(load_site("heatpump"))
    assert heated.startswith("none: heat pumps follow their thermostats. Savings")
    assert "controlled: the EMS moves the heat pumps." in heated
    with_bess = said(builders.site({"bess": builders.bess(), "load": LOAD}))
    assert with_bess.startswith("none: no BESS. Savings")
    one_way = said(builders.site({"ev1": builders.charger(max_discharge_kw=0.0), "load": LOAD}))
    assert one_way.startswith("none: cars charge at once and at full power. Savings") and "V2G" not in one_way
    obeying_nobody = {"bess": builders.bess(), "ev1": builders.charger(controllable=False), "load": LOAD}
    assert "cars charge at once" in said(builders.site(obeying_nobody), Reference.SMART)
    for text in (heated, with_bess):
        assert "car" not in text and "V2G" not in text


def test_cars_charge_as_in_the_baseline_where_v2g_is_not_used() -> None:
    variants = variants_of(office(), Reference.UNCONTROLLED)

    def charger(name: str) -> Charger:
        device = variants[name].devices["ev1"]
        assert isinstance(device, Charger)
        return device

    assert [charger(name).controllable for name in variants] == [False, True, False, True, True]
    assert [charger(name).max_discharge_kw for name in variants] == [0, 0, 0, 20, 20]
    assert ["bess" in site.devices for site in variants.values()] == [False, False, True, False, True]


def test_times_are_whole_local_days() -> None:
    site = office()
    hour = timedelta(hours=1)
    week = course_over(site, "week", date(2024, 3, 28))
    assert week.t_end - week.t0 == 167 * hour, "the clocks go forward"
    month = course_over(site, "month", date(2024, 2, 14))
    assert (month.t0, month.t_end - month.t0) == (datetime(2024, 1, 31, 23, tzinfo=UTC), 29 * 24 * hour)
    assert course_over(site, "3d", None).t0 == datetime(2024, 5, 16, 22, tzinfo=UTC)
    for text in ("0d", "367d", "12h", "fortnight"):
        with raises(Code.FORMAT, "--for", text):
            course_over(site, text, None)
    with raises(Code.RANGE, "price_nord"):
        course_over(load_site("carpark"), "month", None)


def test_the_command_writes_table_json_and_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    tariff = {"sale": "price", "spread_eur_per_kwh": 0.1, "demand_charge_eur_per_kw": 2.0}
    site = builders.site({"bess": builders.bess(), "load": LOAD}, tariff=tariff, network={})
    Path("site.json").write_text(site.model_dump_json(), encoding="utf-8")
    main_ends_with(0, "compare", "site.json", "--processes", "1", "--json", "out.json")
    none, bess = json.loads(Path("out.json").read_text(encoding="utf-8"))["variants"]
    assert (none["savings_eur"], none["psf"]) == (0.0, None)
    # A flat price: what the battery does is to shave the peak of 37.0 kW, 2 €/kW.
    assert none["import_peak_kw"] == pytest.approx(37.0)
    assert bess["demand_charge_eur"] < none["demand_charge_eur"] == pytest.approx(74.0)
    assert bess["savings_eur"] == pytest.approx(none["total_eur"] - bess["total_eur"])
    assert Path("runs/compare-house/comparison.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    for part in ("house, 2024-05-17 00:00 to 2024-05-18 00:00", "demand", "none", "BESS", "PSF", "Figure"):
        assert part in said
    main_ends_with(2, "compare", "site.json", "--for", "1h")
    assert "[format]" in capsys.readouterr().err


def main_ends_with(code: int, *arguments: str) -> None:
    with pytest.raises(SystemExit) as end:
        main([*arguments])
    assert end.value.code == code


def test_a_long_time_is_drawn_as_a_duration_curve_and_the_figure_is_the_same_each_time() -> None:
    site = office()
    start = datetime(2024, 5, 16, 22, tzinfo=UTC)
    for days, label in ((2, "local time"), (11, "share of the time")):
        powers = [float(i % 7) for i in range(96 * days)]
        rows = rows_of(site, {"none": a_day(start, powers), "BESS": a_day(start, powers, cost_eur=8.0)})
        course = course_over(site, f"{days}d", None)
        picture = figure_of(SiteComparison(site, course, Reference.SMART, rows))
        assert any(label in axes.get_xlabel() for axes in picture.figure.axes)
        assert "BESS: 2.00 € saved." in picture.text
        again = figure_of(SiteComparison(site, course, Reference.SMART, rows))
        assert picture.svg_uri() == again.svg_uri()
