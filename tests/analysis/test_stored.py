"""Energy that is left in a store at the end, or missing there."""

from datetime import timedelta

import pytest

from schemas.messages import BessTelemetry, HeatPumpNameplate, HeatPumpTelemetry, Telemetry
from schemas.messages.birth import DeviceNameplate
from schemas.topics import Kind
from services.analysis.stored import stored_change
from services.history.tracks import Sample, Track
from tests.ems.small_site import BESS_PLATE, T0

PUMP = HeatPumpNameplate(max_power_kw=10, buffer_kwh=80, soc_min_frac=0.2, soc_max_frac=1.0)


def track(kind: Kind, plate: DeviceNameplate, *bodies: Telemetry) -> Track:
    """``bodies``: each hour."""
    samples = tuple(Sample(T0 + timedelta(hours=hour), "b1", body) for hour, body in enumerate(bodies))
    return Track(str(kind), kind, plate, samples, lockstep=True)


def pump(soc_frac: float, cop: float | None = 3.0) -> HeatPumpTelemetry:
    return HeatPumpTelemetry(power_kw=0, soc_frac=soc_frac, cop=cop)


@pytest.mark.parametrize(
    ("bodies", "kwh"),
    [
        ((pump(0.8), pump(0.7), pump(0.5)), -8.0),
        ((pump(0.5, 2.0), pump(0.6, 3.0), pump(0.7, 4.0)), 16 / 3),
        ((pump(0.5, None), pump(0.7, 4.0)), 4.0),
        ((pump(0.5, None), pump(0.7, None)), 0.0),
    ],
    ids=["24 kWh of heat at COP 3", "at a mean of 3", "said once", "never said"],
)
def test_heat_counts_as_the_electricity_for_it(bodies: tuple[HeatPumpTelemetry, ...], kwh: float) -> None:
    """A buffer of 80 kWh."""
    found = stored_change({"pump": track(Kind.HEATPUMP, PUMP, *bodies)}, T0, T0 + timedelta(hours=2))
    assert (found.heat_kwh, found.bess_kwh) == (pytest.approx(kwh), 0.0)
    assert found.total_kwh == pytest.approx(kwh)


def test_batteries_and_buffers_are_added() -> None:
    bess = track(
        Kind.BESS, BESS_PLATE, BessTelemetry(power_kw=0, soc_frac=0.5), BessTelemetry(power_kw=0, soc_frac=0.6)
    )
    tracks = {"bess": bess, "pump": track(Kind.HEATPUMP, PUMP, pump(0.8), pump(0.5))}
    found = stored_change(tracks, T0, T0 + timedelta(hours=1))
    assert found.total_kwh == pytest.approx(0.1 * (BESS_PLATE.capacity_kwh or 0.0) - 8.0)
