"""Whatever the contract admits can be processed: report, savings and export never end in a traceback."""

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from schemas.errors import TwinswarmError
from schemas.messages import Birth, ChargerTelemetry, PluggedVehicle, Stamp, TimeMode
from schemas.participant import Received
from schemas.topics import Channel, Kind, Topic
from schemas.wire import body_type, decode, encode, nameplate_type
from services.analysis.report import render_report
from services.analysis.summary import blocks
from services.history.export import export_run
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from services.recorder.recorder import Recorder
from tests.contract.strategies import bodies, instants
from tests.history.tape import RUN, SITE, Tape, at_noon, wanted_of
from twinswarm.simulation.days import local_days, settle_day
from twinswarm.simulation.load_result import review
from twinswarm.simulation.variants import Reference

LAST = 6
"""Cycles of the tape: an hour and a quarter."""
TAPE = Tape()
TIMES = instants(TAPE.course.t0, TAPE.course.t0 + timedelta(hours=2))
DEVICES = {
    Kind.CHARGER: "charger-1",
    Kind.BESS: "bess",
    Kind.HEATPUMP: "heatpump",
    Kind.METER: "load",
    Kind.NETWORK: "network",
    Kind.PV: "pv",
}
WHO = st.one_of(st.sampled_from(list(DEVICES.items())), st.tuples(st.sampled_from(list(DEVICES)), st.just("stranger")))
DEVICE_CHANNELS = (Channel.TELEMETRY, Channel.BIRTH, Channel.STATE, Channel.SETPOINT, Channel.ACK, Channel.ALARM)
SERVICES = (
    (Kind.TARIFF, "tariff", Channel.SERIES),
    (Kind.FORECAST, "forecast", Channel.SERIES),
    (Kind.EMS, "ems", Channel.PLAN),
    (Kind.EMS, "ems", Channel.METRIC),
    (Kind.EMS, "ems", Channel.REJECT),
)


@st.composite
def topics(draw: st.DrawFn) -> Topic:
    if draw(st.booleans()):
        kind, device = draw(WHO)
        return Topic("house", kind, device, draw(st.sampled_from(DEVICE_CHANNELS)))
    return Topic("house", *draw(st.sampled_from(SERVICES)))


@st.composite
def messages(draw: st.DrawFn) -> tuple[int, Received]:
    """A message, and the cycle in which it is announced."""
    topic = draw(topics())
    stamp = Stamp(ts=draw(TIMES), run=RUN, boot=draw(st.sampled_from(["gen-1", "gen-2"])), seq=draw(st.integers(1, 60)))
    body = draw(bodies(body_type(topic.kind, topic.channel), TIMES))
    if isinstance(body, Birth):  # a nameplate of another kind is not admitted
        nameplate = draw(bodies(nameplate_type(topic.kind), TIMES))
        body = Birth(nameplate=nameplate, time_modes=body.time_modes, fallback=body.fallback, software=body.software)
    return draw(st.integers(0, LAST)), Received(topic, stamp, body)


def recorded(extra: list[tuple[int, Received]], mode: TimeMode, path: Path) -> None:
    """The tape with more messages, as they come off the wire, by a real recorder."""
    seen: set[tuple[str, str, int]] = set()
    with closing(HistoryStore(path, durable=False)) as store:
        recorder = Recorder(SITE, store, "main", at_noon)
        for n, told in TAPE.cycles():
            if n > LAST:
                break
            ours = []
            for cycle, received in extra:
                identity = (str(received.topic), received.stamp.boot, received.stamp.seq)
                if cycle == n and identity not in seen:
                    seen.add(identity)
                    ours.append(received)
            for received in (*told, *ours):
                payload = encode(received.stamp, received.body)
                decode(received.topic, payload)  # what is generated is admitted
                recorder.inbox.add(received, payload)
            recorder.inbox.flush()
            recorder.inbox.take(RUN, TAPE.turn(n), wanted_of([*told, *ours]))
            recorder.act(TAPE.turn(n), [])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE run SET mode = ?", (mode,))


def processed(path: Path, reference: Reference, folder: Path, *, drawn: bool) -> None:
    """All that is made of a history. An error that names what is wrong is an answer, anything else is not."""

    def report() -> None:
        result = review(f"sqlite:{path}", RUN, reference)
        json.dumps(result.to_json(), allow_nan=False)
        blocks(result)
        if drawn:
            render_report(result)

    with closing(SqliteHistory(path)) as history:
        for process in (
            report,
            lambda: [settle_day(history, RUN, d, reference) for d in local_days(history.info(RUN), SITE.zone)],
            lambda: export_run(history, RUN, folder),
        ):
            try:
                process()
            except TwinswarmError as error:
                assert str(error)


@settings(deadline=None, max_examples=20, suppress_health_check=list(HealthCheck))
@given(
    st.lists(messages(), min_size=1, max_size=8),
    st.sampled_from(list(TimeMode)),
    st.sampled_from(list(Reference)),
    st.sampled_from([False, False, False, True]),
)
def test_any_history_that_the_contract_admits_is_processed(
    extra: list[tuple[int, Received]], mode: TimeMode, reference: Reference, drawn: bool
) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "h.sqlite"
        recorded(extra, mode, path)
        processed(path, reference, Path(folder) / "out", drawn=drawn)


CAR = st.fixed_dictionaries(
    {
        "soc_frac": st.floats(0, 1),
        "arrival_soc_frac": st.floats(0, 1),
        "target_soc_frac": st.floats(0, 1),
        "soc_min_frac": st.floats(0, 1),
        "soc_max_frac": st.floats(0, 1),
        "arrival": TIMES,
        "departure": TIMES,
    }
)


@settings(deadline=None, max_examples=12, suppress_health_check=list(HealthCheck))
@given(st.lists(CAR, min_size=1, max_size=3), st.sampled_from(list(TimeMode)))
def test_a_car_at_odds_with_itself_is_settled_as_it_was(cars: list[dict[str, Any]], mode: TimeMode) -> None:
    extra = []
    for place, car in enumerate(cars):
        body = ChargerTelemetry(
            power_kw=5.0,
            energy_import_kwh=2.0 * place,
            energy_export_kwh=0.0,
            vehicle=PluggedVehicle(vehicle="odd", capacity_kwh=50.0, **car),
        )
        stamp = Stamp(ts=TAPE.course.time(place + 2), run=RUN, boot="odd-1", seq=place + 1)
        topic = Topic("house", Kind.CHARGER, "charger-2", Channel.TELEMETRY)
        extra.append((place + 2, Received(topic, stamp, body)))
    assume(extra)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "h.sqlite"
        recorded(extra, mode, path)
        result = review(f"sqlite:{path}", RUN, Reference.SMART)
        assert result.savings_eur is not None
        assert blocks(result)
