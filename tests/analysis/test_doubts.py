"""Doubtful values stand beside the numbers of a run and of a day, and so does what came too late."""

import dataclasses
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from schemas.messages import Ack, Alarm, Body, Run, Severity, TimeMode
from schemas.messages.series import Quantity, Series
from schemas.participant import Received
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic
from services.analysis.day_result import DayResult, sum_of
from services.analysis.report import render_report
from services.analysis.result import RunResult, analyse
from services.analysis.savings_table import lateness_lines, peaks_table
from services.analysis.summary import blocks
from services.analysis.tables import doubts_table
from services.history.doubts import DoubtfulValue
from services.history.memory import MemoryHistory
from services.history.reader import RunInfo
from tests.history.tape import RUN, SITE, Tape
from twinswarm.simulation.days import local_days, settle_day
from twinswarm.simulation.variants import Reference

TAPE = Tape(mode=TimeMode.WALL)
PERIOD = timedelta(minutes=15)
Change = Callable[[Received, int], dict[str, Any]]
"""What is different in the body of a telemetry, by its place among its device's."""


def told(changes: dict[str, Change] | None = None) -> list[Received]:
    """The tape's day, with changes by device."""
    places: dict[str, int] = {}
    messages = []
    for message in (message for _, some in TAPE.cycles() for message in some):
        device = message.topic.device
        if message.topic.channel is Channel.TELEMETRY and device in (changes or {}):
            places[device] = places.get(device, -1) + 1
            update = (changes or {})[device](message, places[device])
            messages.append(replace(message, body=message.body.model_copy(update=update)))
        else:
            messages.append(message)
    return messages


def history(messages: Iterable[Received], site: Site = SITE) -> MemoryHistory:
    course = TAPE.course
    info = RunInfo(RUN, "house", "main", TimeMode.WALL, 900, course.t0, course.t_end, 1, course.t_end, course.t0, None)
    return MemoryHistory(info, site, messages)


def day_of(found: MemoryHistory, reference: Reference = Reference.UNCONTROLLED) -> DayResult:
    (day,) = local_days(found.info(RUN), found.site(RUN).zone)
    return settle_day(found, RUN, day, reference)


def at(place: int) -> datetime:
    return TAPE.course.time(place + 1)


def watts_at(*places: int) -> Change:
    """The power in W at some places."""
    return lambda message, place: {"power_kw": 1000 * message.body.power_kw} if place in places else {}  # type: ignore[union-attr]


def shown(table: object) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_a_sound_day_has_no_doubt_and_nothing_late() -> None:
    result = analyse(history(told()), RUN)
    assert (result.doubts, result.doubtful_values) == ((), 0)
    assert doubts_table(result.doubts, result.time_zone) is None
    assert 'id="doubts"' not in render_report(result)
    assert lateness_lines([day_of(history(told()))]) == []


def test_power_in_watts_is_named_with_value_bound_time_and_count() -> None:
    # The load's 10 kW as 10 000 kW: beyond ten times the connection of 100 kW and all devices (2 x 10 + 22 + 22).
    result = analyse(history(told({"load": watts_at(30, 31, 40)})), RUN)
    (doubt,) = result.doubts
    assert (doubt.device, doubt.field, doubt.reason, doubt.value) == ("load", "power_kw", "beyond", 10_000.0)
    assert doubt.bound == "-1064 to 1064 kW, 10 times the connection of 100 kW with all devices"
    assert (doubt.first, doubt.last, doubt.count) == (at(30), at(40), 3)
    assert result.doubtful_values == 3
    assert result.cost_eur == analyse(history(told()), RUN).cost_eur, "by the registers"
    cost = next(line for block in blocks(result) for line in block.lines if line.label.startswith("Cost of energy"))
    assert cost.note == "3 doubtful values not settled with, see below"
    page, table = render_report(result), shown(doubts_table(result.doubts, result.time_zone))
    for text in ("load", "power_kw", "10 000.000 kW", "2024-05-15 07:30", "2024-05-15 10:00"):
        assert text in page
        assert text in table
    assert all(len(line) <= 80 for line in table.splitlines())
    read = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert read["doubts"][0]["count"] == 3
    assert read["doubts"][0]["first"] == "2024-05-15T05:30:00+00:00"


def zero_at(place: int) -> Change:
    return lambda _, found: {"energy_import_kwh": 0.0} if found == place else {}


def test_registers_of_the_pcc_are_named_and_the_power_is_booked() -> None:
    def once_zero_after_a_million(message: Received, place: int) -> dict[str, Any]:
        register = message.body.energy_import_kwh  # type: ignore[union-attr]
        return {"energy_import_kwh": 0.0 if place == 30 else register + 1e6}

    sound, result = analyse(history(told()), RUN), analyse(history(told({"network": once_zero_after_a_million})), RUN)
    assert [(d.field, d.reason, d.count, d.first) for d in result.doubts] == [
        ("energy_import_kwh", "leapt", 1, at(31)),
        ("energy_import_kwh", "went back", 1, at(30)),
    ]
    assert [d.value for d in result.doubts] == pytest.approx([1e6, -1e6], rel=1e-3)
    assert {d.instead for d in result.doubts} == {"power integrated"}
    assert result.cost_eur == pytest.approx(sound.cost_eur, abs=1e-6)
    day = day_of(history(told({"network": once_zero_after_a_million})))
    assert day.cost_eur == pytest.approx(sound.cost_eur, abs=1e-6)
    assert [(d.reason, d.count) for d in day.doubts] == [("leapt", 1), ("went back", 1)]


def test_losses_that_cannot_be_are_not_booked() -> None:
    leap = {"network": lambda message, place: {"losses_kwh": message.body.losses_kwh + 9e3 * (place >= 50)}}
    assert analyse(history(told(leap)), RUN).losses_kwh == pytest.approx(24 * 0.5)  # type: ignore[arg-type]


def test_a_soc_that_leapt_is_named_until_it_is_believed() -> None:
    # At 12:00 the battery rests at 86 %; it reports 12 % until 15:00: each way is believed the third time.
    change: Change = lambda message, place: {"soc_frac": 0.12} if 48 <= place < 60 else {}  # noqa: E731
    (doubt,) = analyse(history(told({"bess": change})), RUN).doubts
    assert (doubt.device, doubt.field, doubt.reason, doubt.count) == ("bess", "soc_frac", "leapt", 4)
    assert (doubt.first, doubt.last) == (at(48), at(61))


def test_a_wrong_soc_at_the_end_is_no_stored_energy() -> None:
    sound = analyse(history(told()), RUN)
    change: Change = lambda message, place: {"soc_frac": 0.95} if place == 96 else {}  # noqa: E731
    result = analyse(history(told({"bess": change})), RUN)
    assert [(d.reason, d.value, d.instead) for d in result.doubts] == [("leapt", 0.95, "the one before")]
    assert result.stored_bess_kwh == pytest.approx(sound.stored_bess_kwh)


def test_prices_in_another_unit_are_named_and_their_steps_left_out() -> None:
    messages = []
    for message in told():
        body = message.body
        if isinstance(body, Series):
            series = tuple(
                s.model_copy(update={"values": (*s.values[:8], 187.0, 190.0, *s.values[10:])})
                if s.quantity is Quantity.PURCHASE_PRICE
                else s
                for s in body.series
            )
            messages.append(replace(message, body=body.model_copy(update={"series": series})))
        else:
            messages.append(message)
    result = analyse(history(messages), RUN)
    (doubt,) = result.doubts
    assert (doubt.device, doubt.field, doubt.value, doubt.count) == ("tariff", "purchase_price_eur_per_kwh", 190.0, 2)
    assert (doubt.bound, doubt.first, doubt.last) == ("within ±5 €/kWh", at(8), at(10))
    assert result.unsettled_steps == 2


def test_forecasts_that_the_ems_did_not_believe_are_named_from_alarm_to_alarm() -> None:
    def alarm(place: int, *, active: bool) -> Received:
        text = "forecast/forecast: load: 9000 is beyond ±1064: is it in W or in another unit?"
        body = Alarm(
            code="implausible",
            severity=Severity.WARNING,
            active=active,
            element="forecast/forecast: load",
            text=f"{text}; it is recorded and not acted on" if active else "over: forecast/forecast: load",
        )
        return _message(body, Channel.ALARM, place)

    result = analyse(history([*told(), alarm(20, active=True), alarm(28, active=False)]), RUN)
    (doubt,) = result.doubts
    assert (doubt.device, doubt.field, doubt.value) == ("forecast", "load", None)
    assert doubt.bound == "9000 is beyond ±1064: is it in W or in another unit?"
    assert (doubt.first, doubt.last, doubt.count) == (at(20), at(28), 1)


def _message(body: Body, channel: Channel, place: int, kind: Kind = Kind.EMS, device: str = "ems") -> Received:
    topic = Topic("house", kind, device, channel)
    stamp = told()[0].stamp.model_copy(update={"ts": at(place), "boot": "late", "seq": place + 1})
    return Received(topic, stamp, body)


def test_days_together_name_each_doubt_once() -> None:
    day = day_of(history(told({"load": watts_at(30, 31, 40)})))
    later = dataclasses.replace(
        day, doubts=tuple(replace(d, value=-2e4, last=d.last + timedelta(days=1)) for d in day.doubts)
    )
    total = sum_of([day, later])
    assert total.doubtful_values == 6
    (doubt,) = total.doubts
    assert isinstance(doubt, DoubtfulValue)
    assert (doubt.value, doubt.count, doubt.first, doubt.last) == (-2e4, 6, at(30), at(40) + timedelta(days=1))
    assert total.to_json()["doubtful_values"] == 6


def test_a_day_says_what_came_too_late_as_its_run_does() -> None:
    messages = told()
    setpoints = [message for message in messages if message.topic.channel is Channel.SETPOINT]
    for index, message in enumerate(setpoints):
        late = timedelta(minutes=4) if index < 24 else timedelta(seconds=2)
        ack = Ack(id=message.body.id, accepted=index >= 6, reason="late" if index < 6 else None)  # type: ignore[union-attr]
        stamp = message.stamp.model_copy(update={"ts": message.stamp.ts + late, "boot": "b", "seq": index + 1})
        messages.append(Received(Topic("house", Kind.BESS, "bess", Channel.ACK), stamp, ack))
    course = TAPE.course
    for index, speed in enumerate((600.0, 600.0, 300.0)):
        body = Run(mode=TimeMode.WALL, step_s=900, t0=course.t0, t_end=course.t_end, wall0=course.t0, speed=speed)
        messages.append(_message(body, Channel.RUN, index, Kind.CLOCK, "clock"))
    found = history(messages)
    result, day = analyse(found, RUN), day_of(found)
    assert (day.setpoints_sent, day.setpoints_late, day.setpoints_refused) == (len(setpoints), 24, 6)
    assert (day.speeds, day.speed) == ((600.0, 300.0), 300.0)
    for field in ("setpoints_sent", "setpoints_late", "setpoints_refused", "periods_without_setpoints", "speeds"):
        assert getattr(day, field) == getattr(result, field), field
    (line,) = lateness_lines([day])
    assert line.startswith(f"2024-05-15: time ran too fast: 24 of {len(setpoints)} set-points were refused or too late")
    assert "from 600 to 300 times real time" in line
    total = sum_of([day, day])
    assert (total.setpoints_late, total.speeds) == (48, (600.0, 300.0, 600.0, 300.0))
    assert total.telemetry_late_frac == day.telemetry_late_frac


def charged(month: str | None) -> tuple[RunResult, DayResult]:
    """The tape's day, whose highest import is 18.5 kW, at 12 €/kW; with 15 kW in a month from before the run."""
    site = SITE.model_dump()
    site["tariff"]["demand_charge_eur_per_kw"] = 12.0
    if month is not None:
        site["tariff"]["month_peak"] = {"month": month, "import_kw": 15.0}
    found = history(told(), Site.model_validate(site))
    return analyse(found, RUN), day_of(found)


def test_demand_charge_is_what_the_run_adds_to_the_months_peak_from_before_it() -> None:
    for result in charged("2024-05"):
        assert result.demand_charge_eur == pytest.approx(12 * 3.5)
        assert result.paid_peak_kw == 15.0
        assert result.import_peak_kw == pytest.approx(18.5)
    run, day = charged("2024-05")
    labels = [line.label for block in blocks(run) for line in block.lines]
    assert "Demand charge that the run adds" in labels and "Demand charge of the month" not in labels
    assert "above the 15.00 kW from before the run" in " ".join(shown(peaks_table([day])).split())
    # The baseline's peak of 14.5 or 32.5 kW is charged the same way.
    above = max(0.0, (day.reference_import_peak_kw or 0.0) - 15.0)
    assert day.reference_demand_charge_eur == pytest.approx(12 * above)


@pytest.mark.parametrize("month", [None, "2024-04"])
def test_a_peak_of_another_month_changes_nothing(month: str | None) -> None:
    for result in charged(month):
        assert result.demand_charge_eur == pytest.approx(12 * 18.5)
        assert result.paid_peak_kw is None
