"""A driver never lets a vehicle give back more than its caps, though it only knows what it hears now and then."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.messages import Ack, ChargerTelemetry, Phase, Setpoint, Stamp, TimeMode
from schemas.participant import Input, Outgoing, Received, Turn
from schemas.topics import Channel, Kind, Topic
from services.drivers.link import Measured
from services.drivers.participant import Driver
from tests.twins.builders import T0, charger, setpoint, site

NIGHT = T0 + timedelta(hours=23)


class Wallbox:
    """A V2G wallbox behind a link: it follows its last command at once, and counts; nobody else limits it."""

    name, value_type, commanded = "wallbox", Measured, True

    def __init__(self) -> None:
        self.power_kw, self.given_kwh, self.taken_kwh = 0.0, 7000.0, 100.0

    def open(self, put: Callable[[object], bool]) -> None:
        """It is asked by hand."""

    def close(self) -> None:
        """Nothing to be closed."""

    def command(self, value_kw: float, for_s: float | None = None) -> None:
        self.power_kw = value_kw

    def run(self, seconds: float) -> None:
        kwh = self.power_kw * seconds / 3600
        self.taken_kwh, self.given_kwh = self.taken_kwh + max(kwh, 0.0), self.given_kwh + max(-kwh, 0.0)

    def measured(self, *, plugged: bool = True) -> Measured:
        return Measured(
            power_kw=self.power_kw,
            energy_import_kwh=self.taken_kwh,
            energy_export_kwh=self.given_kwh,
            plugged=plugged,
        )


class Bench:
    """The driver, given turns every 10 s, and the wallbox between them."""

    def __init__(self, **caps: float) -> None:
        house = site({"ev": charger(sessions=[], min_power_kw=1.0, assume=caps)})
        self.box, self.seconds = Wallbox(), 0.0
        self.driver = Driver(house, "ev", self.box, max_age_s=30.0)

    def act(self, *, heard: bool = True, plugged: bool = True, asked: Setpoint | None = None) -> list[Outgoing]:
        at = NIGHT + timedelta(seconds=self.seconds)
        inputs = (Input("wallbox", at, self.box.measured(plugged=plugged)),) if heard else ()
        topic = Topic(self.driver.site, Kind.CHARGER, "ev", Channel.SETPOINT)
        inbox = [] if asked is None else [Received(topic, Stamp(ts=at, boot="foreign", seq=1), asked)]
        return self.driver.act(Turn(Phase.SENSE, at, NIGHT, None, 900, TimeMode.WALL, inputs=inputs), inbox)

    def wait(self, seconds: float) -> None:
        self.box.run(seconds)
        self.seconds += seconds

    def ask(self, power_kw: float) -> Ack:
        at = NIGHT + timedelta(seconds=self.seconds)
        sent = self.act(asked=setpoint(at, power_kw, valid_until=at + timedelta(hours=4)))
        (ack,) = [each.body for each in sent if isinstance(each.body, Ack)]
        return ack


def test_it_gives_all_but_what_the_smallest_power_leaves_and_then_says_why_not() -> None:
    bench = Bench(max_discharge_session_kwh=2.0)
    bench.act(plugged=False)
    bench.act()
    assert bench.ask(-10.0).applied_kw == -10.0
    for _ in range(200):
        bench.wait(10)
        sent = bench.act()
    given_kwh = bench.box.given_kwh - 7000.0
    # It slows down so that 40 s without a word would fit, and stops below 1 kW: 1 kW · 40 s = 0.011 kWh are left.
    assert 2.0 - 0.0112 <= given_kwh <= 2.0
    (told,) = [each.body for each in sent if isinstance(each.body, ChargerTelemetry)]
    assert told.vehicle is not None and told.vehicle.discharged_kwh == pytest.approx(given_kwh)
    assert Bench(max_discharge_session_kwh=0.0).box.given_kwh == 7000.0


def test_nothing_is_allowed_where_nothing_is_and_an_ack_says_so() -> None:
    bench = Bench(max_discharge_session_kwh=0.0)
    bench.act(plugged=False)
    bench.act()
    ack = bench.ask(-10.0)
    assert (ack.accepted, ack.applied_kw) == (True, 0.0)
    assert "kWh that it may" in (ack.reason or "")
    assert bench.box.power_kw == 0.0


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from([{"max_discharge_session_kwh": 1.5}, {"max_discharge_day_kwh": 1.0}]),
    st.lists(
        st.tuples(st.sampled_from([10.0, 10.0, 3.0]), st.sampled_from([True, True, False]), st.integers(0, 20)),
        min_size=100,
        max_size=400,
    ),
)
def test_caps_are_never_exceeded(caps: dict[str, float], course: list[tuple[float, bool, int]]) -> None:
    """Words that come late or not at all, set-points at any time, restarts, midnight after an hour."""
    bench = Bench(**caps)
    bench.act(plugged=False)
    bench.act()
    midnight_kwh: float | None = None
    for seconds, heard, event in course:
        bench.wait(seconds)
        bench.act(heard=heard)
        if event == 1:
            bench.ask(5.0)
        elif event > 12:
            bench.ask(-float(event))
        elif event == 2:
            state = bench.driver.snapshot()
            house = site({"ev": charger(sessions=[], min_power_kw=1.0, assume=caps)})
            bench.driver = Driver(house, "ev", bench.box, max_age_s=30.0)
            bench.driver.restore(state)
        if midnight_kwh is None and bench.seconds >= 3600:
            midnight_kwh = bench.box.given_kwh
        if "max_discharge_session_kwh" in caps:
            assert bench.box.given_kwh - 7000.0 <= 1.5 + 1e-9
        elif midnight_kwh is None:
            assert bench.box.given_kwh - 7000.0 <= 1.0 + 1e-9
