"""Energy balance of a run: what went through the PCC meter, what the devices took, what the network lost."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.messages import MeterRole, NetworkTelemetry, Telemetry
from services.history.reader import pcc_of
from services.history.tracks import Flow, Sample, Track


@dataclass(frozen=True, slots=True)
class BalanceStep:
    """One interval [kWh]; ``residual_kwh`` = PCC - devices - losses, None where the PCC is not known."""

    start: datetime
    end: datetime
    pcc_kwh: float | None
    devices_kwh: float
    losses_kwh: float
    causes: tuple[str, ...]
    """Why the balance may not close: devices that were away, energies that are estimated."""
    estimated_losses_kwh: float = 0.0
    """The part of the losses that is estimated, because the network had no solution."""
    unsolved_h: float = 0.0
    """For how long it had none."""

    @property
    def residual_kwh(self) -> float | None:
        return None if self.pcc_kwh is None else self.pcc_kwh - self.devices_kwh - self.losses_kwh


@dataclass(frozen=True, slots=True)
class Balance:
    """The steps of a run. ``note``: what is not measured, so that the residual holds it; None: all is."""

    steps: tuple[BalanceStep, ...]
    note: str | None

    @property
    def residual_kwh_max(self) -> float | None:
        """The largest absolute residual of a step; None when the PCC was never known."""
        return max((abs(step.residual_kwh) for step in self.steps if step.residual_kwh is not None), default=None)

    @property
    def undisturbed_residual_kwh_max(self) -> float | None:
        """The same over the steps in which everybody told."""
        told = (step for step in self.steps if not step.causes)
        return max((abs(step.residual_kwh) for step in told if step.residual_kwh is not None), default=None)

    @property
    def losses_kwh(self) -> float:
        return math.fsum(step.losses_kwh for step in self.steps)

    @property
    def estimated_losses_kwh(self) -> float:
        """The part of the losses that is estimated."""
        return math.fsum(step.estimated_losses_kwh for step in self.steps)

    @property
    def unsolved(self) -> tuple[datetime, ...]:
        """Where the steps begin in which the network had no solution, for some time at least."""
        return tuple(step.start for step in self.steps if step.unsolved_h > 0)

    @property
    def worst(self) -> BalanceStep | None:
        """The step of the largest residual."""
        known = [step for step in self.steps if step.residual_kwh is not None]
        return max(known, key=lambda step: abs(step.residual_kwh or 0.0), default=None)

    @property
    def causes(self) -> tuple[tuple[str, timedelta], ...]:
        """Each cause once, with how long it lasted."""
        lasted: dict[str, timedelta] = {}
        for step in self.steps:
            for cause in step.causes:
                lasted[cause] = lasted.get(cause, timedelta()) + (step.end - step.start)
        return tuple(lasted.items())


def balance(tracks: Mapping[str, Track], times: Sequence[datetime]) -> Balance:
    """Balance of the intervals between ``times``. Submeters measure again what devices do, and are left out."""
    pcc = pcc_of(dict(tracks))
    losses = losses_track(pcc)
    devices = {
        name: track for name, track in tracks.items() if track is not pcc and track.role is not MeterRole.SUBMETER
    }
    at_pcc = pcc.flows(times) if pcc is not None else [Flow(None, None, True, "there is no PCC meter")] * len(times[1:])
    lost = losses.flows(times) if losses is not None else [Flow(0.0, 0.0)] * len(times[1:])
    estimated = _estimated_track(pcc)
    unsolved = estimated.flows(times) if estimated is not None else [Flow(0.0, 0.0)] * len(times[1:])
    flows = {name: track.flows(times) for name, track in devices.items()}
    missing = _missing(pcc)
    steps = []
    for index, (start, end) in enumerate(itertools.pairwise(times)):
        of_step = [found[index] for found in flows.values()]
        told = [at_pcc[index], *of_step]
        causes = [flow.cause for flow in told if flow.cause is not None]
        causes += [
            f"{name}: the network had no telemetry of it"
            for name in missing.get(end, ())
            if not any(cause.startswith(f"{name}:") for cause in causes)
        ]
        steps.append(
            BalanceStep(
                start,
                end,
                at_pcc[index].net_kwh,
                math.fsum(flow.net_kwh for flow in of_step if flow.net_kwh is not None),
                lost[index].net_kwh or 0.0,
                tuple(causes),
                unsolved[index].import_kwh or 0.0,
                unsolved[index].export_kwh or 0.0,
            )
        )
    return Balance(tuple(steps), _note(devices, losses))


def losses_track(pcc: Track | None) -> Track | None:
    """The losses as a meter of their own, bounded as the PCC's; None when nobody measures them."""
    if pcc is None or not any(isinstance(sample.body, NetworkTelemetry) for sample in pcc.samples):
        return None
    samples = [
        Sample(
            sample.ts,
            sample.boot,
            Telemetry(power_kw=body.losses_kw, energy_import_kwh=body.losses_kwh, energy_export_kwh=0.0),
        )
        for sample in pcc.samples
        if isinstance(body := sample.body, NetworkTelemetry)
    ]
    return Track("losses", pcc.kind, None, tuple(samples), pcc.lockstep, pcc.meter_bounds)


def _estimated_track(pcc: Track | None) -> Track | None:
    """Estimated losses [kWh] as import, and as export the time without a solution [h]; None where there was none."""
    if pcc is None:
        return None
    bodies = [(sample, sample.body) for sample in pcc.samples if isinstance(sample.body, NetworkTelemetry)]
    if not any(body.unsolved_s for _, body in bodies):
        return None
    samples = [
        Sample(
            sample.ts,
            sample.boot,
            Telemetry(
                power_kw=0.0,
                energy_import_kwh=body.estimated_losses_kwh or 0.0,
                energy_export_kwh=(body.unsolved_s or 0.0) / 3600,
            ),
        )
        for sample, body in bodies
    ]
    return Track("estimated losses", pcc.kind, None, tuple(samples), pcc.lockstep, pcc.meter_bounds)


def _missing(pcc: Track | None) -> dict[datetime, tuple[str, ...]]:
    """By the end of an interval the devices that the network twin missed in it."""
    if pcc is None:
        return {}
    return {s.ts: s.body.missing for s in pcc.samples if isinstance(s.body, NetworkTelemetry) and s.body.missing}


def _note(devices: Mapping[str, Track], losses: Track | None) -> str | None:
    unmeasured = []
    if not any(track.role is MeterRole.LOAD for track in devices.values()):
        unmeasured.append("the load (there is no load meter)")
    if losses is None:
        unmeasured.append("the losses")
    return f"Not measured, and so in the residual: {', '.join(unmeasured)}." if unmeasured else None
