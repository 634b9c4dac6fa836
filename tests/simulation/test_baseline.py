"""What a replay is fed with: means of what was measured, so that energy is conserved."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.cycle import Course
from schemas.messages import PvNameplate, PvTelemetry
from schemas.topics import Kind
from services.history.tracks import Sample, Track
from twinswarm.simulation.baseline import _available_kw

T0 = datetime(2024, 5, 17, 8, tzinfo=UTC)
COURSE = Course(T0, T0 + timedelta(hours=2), 900)
NAMEPLATE = PvNameplate(rated_kw=50.0, curtailable=True)


def inverter(pieces: list[tuple[float, float, float | None]], every_s: float) -> tuple[Track, float, float]:
    """Telemetry of an inverter in wall time, and what it delivered and could have delivered [kWh].

    ``pieces``: (seconds, available kW, limit kW), one after another from `T0` on.
    """
    samples: list[Sample] = []
    delivered = offered = since = 0.0
    for lasts, available, limit in pieces:
        power = available if limit is None else min(available, limit)
        told = 0.0
        while told < lasts:
            body = PvTelemetry(
                power_kw=-power, energy_import_kwh=0.0, energy_export_kwh=delivered, available_kw=available
            )
            samples.append(Sample(T0 + timedelta(seconds=since), "pv-1", body))
            step = min(every_s, lasts - told)
            told, since = told + step, since + step
            delivered += power * step / 3600
            offered += available * step / 3600
    last = PvTelemetry(power_kw=0.0, energy_import_kwh=0.0, energy_export_kwh=delivered, available_kw=0.0)
    samples.append(Sample(T0 + timedelta(seconds=since), "pv-1", last))
    return Track("pv", Kind.PV, NAMEPLATE, tuple(samples), lockstep=False), delivered, offered


def replayed_kwh(track: Track) -> float:
    return sum(kw or 0.0 for kw in _available_kw(track, COURSE)[:-1]) / 4


lengths = st.lists(st.integers(20, 3600), min_size=1, max_size=12).map(
    lambda raw: [*raw, max(0, 7200 - sum(raw))] if sum(raw) < 7200 else raw
)


@settings(deadline=None, max_examples=60)
@given(st.data(), lengths, st.sampled_from([1.0, 10.0, 60.0, 700.0]))
def test_what_an_inverter_delivered_without_a_limit_is_replayed_to_the_kilowatt_hour(
    data: st.DataObject, seconds: list[int], every_s: float
) -> None:
    total = 0.0
    pieces: list[tuple[float, float, float | None]] = []
    for length in seconds:
        left = min(float(length), 7200.0 - total)
        if left > 0:
            pieces.append((left, data.draw(st.floats(0, 50)), None))
            total += left
    track, delivered, _ = inverter(pieces, every_s)
    assert replayed_kwh(track) == pytest.approx(delivered, abs=1e-6)


def test_where_a_limit_held_it_back_what_it_could_have_delivered_is_replayed() -> None:
    track, delivered, offered = inverter([(3600, 40.0, None), (1800, 40.0, 10.0), (1800, 30.0, None)], 30.0)
    assert (delivered, offered) == (pytest.approx(40 + 5 + 15), pytest.approx(40 + 20 + 15))
    assert replayed_kwh(track) == pytest.approx(offered, abs=1e-6)


def test_a_cloud_between_two_telemetries_of_a_quarter_hour_is_in_the_mean() -> None:
    # At the beginning of each quarter-hour 40 kW are told; for ten minutes of it only 10 flow.
    track, delivered, _ = inverter([(300, 40.0, None), (600, 10.0, None)] * 8, 900.0)
    sampled = Track(track.device, track.kind, track.nameplate, (*track.samples[::2],), lockstep=False)
    assert delivered == pytest.approx(2 * (40 * 300 + 10 * 600) / 900)
    assert replayed_kwh(sampled) == pytest.approx(delivered, abs=1e-6)
