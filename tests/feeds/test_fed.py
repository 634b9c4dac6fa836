"""A tariff and a forecast whose profiles feeds renew: what they publish, alarms, the kept answer, wall time."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from broker.memory import MemoryBroker, MemoryTransport
from runtime.drive import drive
from runtime.steady_clock import SteadyClock
from runtime.wall import WallLoop
from schemas.messages import Alarm, Phase, Quantity, Series, TimeMode
from schemas.participant import Input, Outgoing, Turn
from schemas.site import DayProfile, IntervalLabel, Site, next_midnight
from schemas.site.feeds import EnergyChartsCo2
from schemas.topics import Channel, Kind, Topic, everything
from schemas.wire import decode
from services.clock.wall import WallClock, WallTime
from services.feeds.fed import Fed
from services.feeds.source import FeedAnswer, FeedSource
from services.forecast.tariff import Tariff
from sites.loader import load_site
from sites.loader.template import write_template
from tests.cli.calling import call
from tests.feeds import answers
from tests.feeds.server import Answer, serving
from twinswarm.deploy.feeds import fed, feeds_of

FEED = "feeds:\n  price: {type: energy_charts, bidding_zone: IT-North, url: URL, every_s: 1}\n"
MIDNIGHT = datetime(2026, 11, 27, 23, tzinfo=UTC)  # of 28 November in Rome
NOON = MIDNIGHT + timedelta(hours=12)


def site(folder: Path, url: str = "http://127.0.0.1:9/x") -> Site:
    write_template(folder)
    file = folder / "site.yaml"
    file.write_text(file.read_text() + "\n" + FEED.replace("URL", url))
    return load_site(file)


def answer(start: datetime = MIDNIGHT, quarters: int = 96, price: float = 0.05, **given: Any) -> FeedAnswer:
    values = tuple(price + i / 1e4 for i in range(quarters))
    return FeedAnswer(**{"received": NOON, "start": start, "step_s": 900, "values": values, **given})


class Bench:
    """The tariff with one feed, and a hand that gives it turns."""

    def __init__(self, folder: Path) -> None:
        self.site = site(folder)
        self.sources = [FeedSource("price", self.site.feeds["price"], self.site)]
        self.fed = self.new()

    def new(self) -> Fed:
        return Fed(Tariff, self.site, self.sources)

    def act(self, at: datetime, *given: FeedAnswer, phase: Phase = Phase.SENSE) -> list[Outgoing]:
        inputs = tuple(Input("profile.price", at, each) for each in given)
        turn = Turn(phase, at, MIDNIGHT, None, 900, TimeMode.WALL, inputs=inputs)
        return self.fed.act(turn, [])


def prices(sent: list[Outgoing]) -> tuple[datetime, tuple[float, ...]] | None:
    """Of the series among them: start and values of the sale price."""
    for each in sent:
        if isinstance(each.body, Series):
            (found,) = [s for s in each.body.series if s.quantity is Quantity.SALE_PRICE]
            return found.start, found.values
    return None


def alarms(sent: list[Outgoing]) -> list[tuple[str, bool]]:
    return [(each.body.code, each.body.active) for each in sent if isinstance(each.body, Alarm)]


def test_an_answer_replaces_the_sites_profile_at_once_and_as_far_as_it_reaches(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    first = bench.act(NOON, phase=Phase.ROLLCALL)
    assert alarms(first) == [("feed_stale", True)]
    assert prices(first) is not None
    then = bench.act(NOON, answer())
    assert alarms(then) == [("feed_stale", False)]
    assert prices(then) == (MIDNIGHT, answer().values)
    assert bench.act(NOON + timedelta(minutes=15), answer()) == []
    tomorrow = bench.act(NOON + timedelta(hours=1), answer(quarters=192))
    found = prices(tomorrow)
    assert found is not None
    assert len(found[1]) == 192


def test_a_failing_feed_is_named_its_last_answer_used_and_then_the_sites_profile(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.act(NOON, answer(), phase=Phase.ROLLCALL)
    trouble = FeedAnswer(received=NOON, trouble="it answers 500")
    assert alarms(bench.act(NOON + timedelta(hours=1), trouble)) == [("feed_failed", True)]
    assert bench.act(NOON + timedelta(hours=2), trouble) == []
    over = bench.act(next_midnight(NOON, bench.site.zone), trouble)
    assert sorted(alarms(over)) == [("feed_failed", False), ("feed_stale", True)]
    assert prices(over) is not None
    again = bench.act(NOON + timedelta(hours=13), answer(MIDNIGHT + timedelta(days=1)))
    assert alarms(again) == [("feed_stale", False)]


def test_an_old_answer_is_not_used_though_it_reaches_to_now(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    old = answer(quarters=400, received=NOON - timedelta(hours=37))
    assert alarms(bench.act(NOON, old)) == [("feed_stale", True)]


def test_holes_are_named_and_euros_per_megawatthour_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    values = (*answer().values[:50], None, *answer().values[51:])
    assert alarms(bench.act(NOON, answer(values=values))) == [("feed_holes", True)]
    sent = bench.act(NOON, answer(price=50.0))
    assert sorted(alarms(sent)) == [("feed_failed", True)]
    text = next(each.body.text for each in sent if isinstance(each.body, Alarm))
    assert "50.0095 €/kWh" in text
    assert "factor 0.001" in text


def test_co2_of_a_feed_is_published_by_the_tariff_and_what_no_grid_emits_is_refused(tmp_path: Path) -> None:
    """The forecast has no part in it; the profile holds until there is an answer."""
    plain = site(tmp_path)
    feed = EnergyChartsCo2(country="de")
    described = Site.model_validate(
        plain.model_dump()
        | {
            "connection": plain.connection.model_copy(update={"co2_profile": "grid"}),
            "profiles": {**plain.profiles, "grid": DayProfile(values=(300.0,))},
            "feeds": {"grid": feed},
        }
    )
    assert (feeds_of(described, "tariff"), feeds_of(described, "forecast")) == ({"grid": feed}, {})
    tariff = Fed(Tariff, described, [FeedSource("grid", feed, described)])

    def act(at: datetime, *given: FeedAnswer) -> list[Outgoing]:
        inputs = tuple(Input("profile.grid", at, each) for each in given)
        return tariff.act(Turn(Phase.SENSE, at, MIDNIGHT, None, 900, TimeMode.WALL, inputs=inputs), [])

    def intensities(sent: list[Outgoing]) -> list[float]:
        (series,) = [each.body for each in sent if isinstance(each.body, Series)]
        (found,) = [s for s in series.series if s.quantity is Quantity.CO2_INTENSITY]
        return [*found.values]

    assert set(intensities(act(NOON))) == {300.0}
    values = tuple(400.0 + i for i in range(96))
    assert intensities(act(NOON + timedelta(minutes=1), answer(values=values)))[:96] == [*values]
    absurd = act(NOON + timedelta(minutes=2), answer(values=(4e5,) * 96))
    assert alarms(absurd) == [("feed_failed", True)]
    (alarm,) = [each.body for each in absurd if isinstance(each.body, Alarm)]
    assert "400000 g/kWh of CO2, and 0 to 3000 are allowed" in alarm.text


def test_it_goes_on_from_its_snapshot(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.act(NOON, answer(), phase=Phase.ROLLCALL)
    kept = bench.fed.snapshot()
    bench.fed = bench.new()
    bench.fed.restore(kept)
    later = bench.act(NOON + timedelta(minutes=15))
    assert alarms(later) == []
    assert prices(later) == (MIDNIGHT, answer().values)
    assert bench.fed.birth().time_modes == (TimeMode.WALL,)


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.02)


def test_a_source_keeps_its_answer_on_disk_and_gives_it_when_nobody_answers(tmp_path: Path) -> None:
    found: list[FeedAnswer] = []

    def put(value: object) -> bool:
        assert isinstance(value, FeedAnswer)
        found.append(value)
        return True

    with serving(Answer(answers.energy_charts(MIDNIGHT, 900, [50.0] * 96))) as service:
        described = site(tmp_path, service.url)
        source = FeedSource("price", described.feeds["price"], described, tmp_path / "cache")
        source.open(put)
        wait_for((tmp_path / "cache" / "feed-price.json").is_file)
        source.close()
    del found[1:]
    alone = FeedSource("price", described.feeds["price"], described, tmp_path / "cache")
    alone.open(put)
    wait_for(lambda: len(found) == 3)
    alone.close()
    assert found[1] == found[0]
    assert "cannot be reached" in (found[2].trouble or "")
    (tmp_path / "cache" / "feed-price.json").write_text("{")
    damaged = FeedSource("price", described.feeds["price"], described, tmp_path / "cache")
    damaged.open(put)
    wait_for(lambda: len(found) == 4)
    damaged.close()
    assert found[3].trouble is not None


@contextmanager
def live_run(participant: Fed) -> Iterator[Callable[[], list[object]]]:
    """A real run with this participant; what it published so far."""
    broker, stop = MemoryBroker(), threading.Event()
    ear = MemoryTransport(broker, "ear")
    ear.connect([everything(participant.site)])
    steady = SteadyClock()
    clock_transport = MemoryTransport(broker, "clock")
    clock = WallClock(
        participant.site, clock_transport, WallTime(900, simulated=False), run="20261128T120000.000000Z-0001", boot="c"
    )
    transport = MemoryTransport(broker, "tariff")
    loop = WallLoop(participant, transport, new_boot=lambda: "one", clock=steady)
    threads = [
        threading.Thread(target=drive, args=(clock, clock_transport, stop)),
        threading.Thread(target=drive, args=(loop, transport, stop, steady.now)),
    ]
    for thread in threads:
        thread.start()
    heard: list[object] = []

    def look() -> list[object]:
        while (delivery := ear.receive(0.0)) is not None:
            ear.acknowledge(delivery)
            topic = Topic.parse(delivery.topic)
            if topic.kind is Kind.TARIFF and topic.channel in (Channel.SERIES, Channel.ALARM):
                heard.append(decode(topic, delivery.payload)[1])
        return heard

    try:
        yield look
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)


def test_in_a_real_run_prices_come_from_the_service_and_tomorrow_when_it_is_published(tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    today = answers.energy_charts(now - timedelta(hours=12), 900, [40.0] * 120)
    later = answers.energy_charts(now - timedelta(hours=12), 900, [40.0] * 120 + [90.0] * 96)
    with serving(Answer("{}", 503, {"Retry-After": "0"}), Answer(today), Answer(later)) as service:
        participant = fed(site(tmp_path, service.url), "tariff", tmp_path / "cache")()
        assert isinstance(participant, Fed)
        with live_run(participant) as heard:

            def last() -> Series | None:
                return next((body for body in reversed(heard()) if isinstance(body, Series)), None)

            def has(price: float) -> bool:
                series = last()
                return series is not None and any(price in s.values for s in series.series)

            wait_for(lambda: has(0.04))
            wait_for(lambda: has(0.09))


def test_pv_is_forecast_by_the_weather_of_now(tmp_path: Path) -> None:
    """Irradiance of the hour before its time, as Open-Meteo gives it, moves the PV forecast of that hour."""
    write_template(tmp_path)
    file = tmp_path / "site.yaml"
    described = yaml.safe_load(file.read_text())
    weather = {"type": "time", "start": "2020-01-01T00:00Z", "step_s": 3600, "values": [0.0, 0.0]}
    described["profiles"] |= {"ghi": weather | {"interval_label": "interval_end"}, "temperature": weather}
    described["feeds"] = {"ghi": {"type": "open_meteo", "variable": "shortwave_radiation"}}
    plant = {"type": "irradiance", "ghi_profile": "ghi", "temp_air_c": 15.0, "tilt_deg": 30, "azimuth_deg": 180}
    described["devices"]["pv"]["forecast"] = plant | {"peak_kw": 20.0}
    file.write_text(yaml.safe_dump(described))
    found = load_site(file)
    start = MIDNIGHT - timedelta(hours=1)
    values = tuple(300.0 if i == 13 else 0.0 for i in range(72))
    given = FeedAnswer(
        received=NOON, start=start, step_s=3600, values=values, interval_label=IntervalLabel.INTERVAL_END
    )
    participant = fed(found, "forecast", tmp_path / "cache")()
    turn = Turn(Phase.SENSE, NOON, MIDNIGHT, None, 900, TimeMode.WALL, inputs=(Input("profile.ghi", NOON, given),))
    (series,) = [each.body for each in participant.act(turn, []) if isinstance(each.body, Series)]
    (pv,) = [s for s in series.series if s.quantity is Quantity.PV]
    producing = [pv.start + timedelta(seconds=900 * i) for i, value in enumerate(pv.values) if value > 1.0]
    assert producing == [NOON - timedelta(hours=1) + timedelta(seconds=900 * i) for i in range(4)]


def test_the_command_tries_every_feed_and_says_what_it_delivers(tmp_path: Path) -> None:
    with serving(Answer(answers.energy_charts(MIDNIGHT, 900, [50.0] * 90 + [None] + [70.0] * 5))) as service:
        site(tmp_path, service.url)
        done = call("feeds", str(tmp_path), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert (
            "price: 96 values every 900 s from 2026-11-28 00:00 to 2026-11-29 00:00 local time, 1 of them missing; "
            "between 0.05 and 0.07"
        ) in done.stdout
    gone = call("feeds", str(tmp_path), cwd=tmp_path)
    assert (gone.returncode, "cannot be reached" in gone.stdout) == (1, True)


def test_a_site_without_feeds_says_so(tmp_path: Path) -> None:
    none = call("feeds", "fit_g2v", cwd=tmp_path)
    assert (none.returncode, "has no feeds" in none.stderr) == (2, True)
    refused = call("tariff", "--site", "fit_g2v", "--feeds", "cache", cwd=tmp_path)
    assert (refused.returncode, "no feed of a profile that the tariff publishes" in refused.stderr) == (2, True)


def test_a_feed_of_no_profile_is_a_fault(tmp_path: Path) -> None:
    write_template(tmp_path)
    file = tmp_path / "site.yaml"
    file.write_text(file.read_text() + "\nfeeds:\n  prices: {type: awattar, country: de}\n")
    done = call("check", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 2
    assert "feeds.prices: there is no profile whose values it could replace; there are" in done.stderr
