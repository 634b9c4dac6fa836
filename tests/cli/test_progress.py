"""What is known of a run while it goes."""

import io
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from schemas.cycle import Course
from schemas.messages import (
    Alarm,
    BessTelemetry,
    Body,
    ChargerTelemetry,
    NetworkTelemetry,
    Phase,
    PluggedVehicle,
    Quantity,
    Receipt,
    Series,
    Severity,
    Stamp,
    ValueSeries,
)
from schemas.participant import Received
from schemas.topics import Channel, Kind, Topic
from services.monitor.progress import View
from sites.loader import load_site
from twinswarm.cli.live import line, panel

T0 = datetime(2024, 5, 16, 22, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
SITE = load_site("fit_g2v")


@pytest.fixture
def view() -> View:
    return View(SITE, Course(T0, T0 + timedelta(hours=1), 900))


def _tell(view: View, kind: Kind, device: str, channel: Channel, body: Body, ts: datetime, boot: str = "a") -> None:
    view.on_message(Received(Topic(SITE.site, kind, device, channel), Stamp(ts=ts, boot=boot, seq=1), body))


def _prices(view: View) -> None:
    series = tuple(
        ValueSeries(quantity=quantity, start=T0, step_s=900, values=values)
        for quantity, values in (
            (Quantity.PURCHASE_PRICE, (0.3, 0.4, 0.5, 0.6)),
            (Quantity.SALE_PRICE, (0.1, 0.2, 0.3, 0.4)),
        )
    )
    _tell(view, Kind.TARIFF, "tariff", Channel.SERIES, Series(series=series), T0)


def _pcc(view: View, quarter: int, bought: float, sold: float, boot: str = "a") -> None:
    body = NetworkTelemetry(
        power_kw=8.0,
        energy_import_kwh=bought,
        energy_export_kwh=sold,
        losses_kw=1.5,
        losses_kwh=1.0,
        residual_kwh=0.0,
        voltages_pu={},
        loadings_frac={},
    )
    _tell(view, Kind.NETWORK, "network", Channel.TELEMETRY, body, T0 + quarter * QUARTER, boot)


def test_nothing_is_known_at_first(view: View) -> None:
    assert (view.fraction, view.pcc_kw, view.cost_eur, view.plan) == (0.0, None, None, None)
    assert view.soc_frac == {"ev1": None, "ev2": None, "ev3": None, "ev4": None, "bess": None}


def test_cost_is_register_differences_at_the_prices_that_held(view: View) -> None:
    _prices(view)
    _pcc(view, 0, 100.0, 10.0)
    assert view.cost_eur is None
    _pcc(view, 1, 110.0, 10.0)
    _pcc(view, 2, 112.0, 13.0)
    # 10 kWh at 0.3, then 2 kWh at 0.4 bought and 3 kWh at 0.2 sold
    assert view.cost_eur == pytest.approx(10 * 0.3 + 2 * 0.4 - 3 * 0.2, abs=1e-12)
    assert view.measured_fraction == 0.5
    assert (view.pcc_kw, view.losses_kw) == (8.0, 1.5)


def test_a_repeated_reading_and_a_new_life_of_the_meter_cost_nothing(view: View) -> None:
    _prices(view)
    _pcc(view, 0, 100.0, 0.0)
    _pcc(view, 1, 110.0, 0.0)
    _pcc(view, 1, 110.0, 0.0)
    _pcc(view, 2, 0.0, 0.0, boot="b")
    assert view.cost_eur == pytest.approx(3.0, abs=1e-12)


def test_in_place_of_registers_that_cannot_be_the_power_is_settled(view: View) -> None:
    _prices(view)
    _pcc(view, 0, 81_004.0, 0.0)
    _pcc(view, 1, 0.0, 0.0)
    _pcc(view, 2, 81_008.0, 0.0)
    # 8 kW for two quarters, at 0.3 and 0.4.
    assert view.cost_eur == pytest.approx(2.0 * 0.3 + 2.0 * 0.4, abs=1e-12)


def test_time_never_goes_back_nor_beyond_the_run(view: View) -> None:
    view.on_phase(3, Phase.SENSE, T0 + 2 * QUARTER)
    view.on_phase(2, Phase.COMMIT, T0 + QUARTER)
    assert view.fraction == 0.5
    assert not view.finished
    view.on_phase(9, Phase.SENSE, T0 + 9 * QUARTER)
    assert view.fraction == 1.0
    assert view.finished


def test_socs_are_of_the_bess_and_of_the_vehicle_at_the_plug(view: View) -> None:
    vehicle = PluggedVehicle(
        vehicle="car",
        soc_frac=0.7,
        capacity_kwh=50.0,
        arrival=T0,
        arrival_soc_frac=0.6,
        departure=T0 + QUARTER,
        target_soc_frac=0.8,
    )
    plugged = ChargerTelemetry(power_kw=5.0, vehicle=vehicle)
    _tell(view, Kind.CHARGER, "ev1", Channel.TELEMETRY, plugged, T0)
    _tell(view, Kind.BESS, "bess", Channel.TELEMETRY, BessTelemetry(power_kw=0.0, soc_frac=0.5), T0)
    assert view.soc_frac["ev1"] == 0.7
    assert view.soc_frac["bess"] == 0.5
    _tell(view, Kind.CHARGER, "ev1", Channel.TELEMETRY, ChargerTelemetry(power_kw=0.0), T0 + QUARTER)
    assert view.soc_frac["ev1"] is None


def test_receipts_and_alarms_are_counted(view: View) -> None:
    alarm = Alarm(code="overload", severity=Severity.WARNING, text="hot")
    _tell(view, Kind.NETWORK, "network", Channel.ALARM, alarm, T0)
    _tell(view, Kind.NETWORK, "network", Channel.ALARM, alarm.model_copy(update={"active": False}), T0)
    _tell(view, Kind.RECORDER, "recorder", Channel.RECEIPT, Receipt(stored=12, missing=0, dead_letters=0), T0)
    assert (view.alarms, view.recorded) == (1, 12)


@pytest.mark.parametrize("width", [60, 100])
def test_the_panel_fits_its_width(view: View, width: int) -> None:
    _prices(view)
    _pcc(view, 0, 100.0, 0.0)
    _pcc(view, 1, 110.0, 0.0)
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(panel(view, "fit-g2v: a title", width))
    lines = console.export_text().splitlines()
    assert {len(text) for text in lines} == {width}
    told = "\n".join(lines)
    for part in ("8.0 kW", "3.00 €", "1.5 kW", "ev4", "bess", "25%"):
        assert part in told


def test_the_line_is_plain_text(view: View) -> None:
    _pcc(view, 0, 0.0, 0.0)
    dash = "\N{EN DASH}"
    assert line(view) == f"2024-05-17 00:00    0%  PCC 8.0 kW  cost so far {dash}  SOC {dash}"
