"""Everything that is said of a run, as one frozen value: what tables, report and JSON are made of."""

import dataclasses
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from schemas.capabilities import Group
from services.analysis.outcome import Outcome
from services.analysis.outside_limits import OutsideLimitResult


@dataclass(frozen=True, slots=True)
class QuarterResult:
    """One settlement quarter [time, time + length_s): mean powers [kW] by register differences; SOCs at ``time``."""

    time: datetime
    length_s: float
    pcc_kw: float | None
    """Positive on import."""
    reference_pcc_kw: float | None
    planned_pcc_kw: float | None
    """By the plan that commanded this quarter."""
    first_plan_pcc_kw: float | None
    """By the run's first plan."""
    purchase_price_eur_per_kwh: float | None
    sale_price_eur_per_kwh: float | None
    losses_kw: float | None
    power_kw: dict[str, float | None]
    """Per device; positive is drawn from the building's bus."""
    soc_frac: dict[str, float | None]
    """Per BESS and per charger with a vehicle."""


@dataclass(frozen=True, slots=True)
class DeviceResult:
    """A device over the run."""

    device: str
    kind: str
    group: Group
    """How it is put together with others."""
    role: str | None
    """Role of the meter."""
    import_kwh: float | None
    export_kwh: float | None
    highest_kw: float | None
    """From the means of the settlement periods."""
    lowest_kw: float | None
    soc_start_frac: float | None
    soc_end_frac: float | None
    """At the last telemetry; of a charger without a vehicle then: None."""
    sessions: int
    note: str | None
    """Why energies are estimated or not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult(Outcome):
    """Result of a run: what `Outcome` says of it, and how it went."""

    run: str
    site: str
    description: str
    mode: str
    speed: float | None
    """How many times real time a run in wall time went; None in lock-step."""
    time_zone: str
    start: datetime
    end: datetime | None
    """Up to where the history goes; None: nothing was recorded."""
    complete: bool
    """Whether the run was carried to its end."""
    reference: str | None
    """The policy it is compared with: no-cars, uncontrolled, smart; None: not compared."""

    import_limit_kw: float
    """Of the connection, by the site's description."""
    export_limit_kw: float
    limit_exceeded_periods: int
    """Settlement periods whose mean is above the connection's limit."""

    psf_excluded_samples: int
    psf_unknown_samples: int
    psf_2kw: float | None
    """The same with 2 kW."""
    psf_2kw_excluded_samples: int

    energy_residual_at: datetime | None
    """Where the step of the largest residual begins."""
    energy_residual_undisturbed_kwh_max: float | None
    """Over the steps in which every device told."""
    energy_note: str | None
    energy_causes: tuple[tuple[str, timedelta], ...]
    """Why the balance may not close, and for how long."""

    stored_bess_kwh: float
    """Change over the run, in the cells."""
    stored_vehicles_kwh: float
    stored_price_eur_per_kwh: float | None

    setpoints_sent: int
    setpoints_changed: int
    setpoints_refused: int
    """By their devices: too late, too long, beyond what they are. Each once."""
    messages_recorded: int
    messages_missing: int
    messages_stray: int
    dead_letters: int
    alarms: int
    """How many began."""
    alarms_by_code: dict[str, int]
    """The same by what they tell: ``overload``, ``voltage_low``, ``voltage_high``, ``power_flow_diverged``, …"""
    plan_statuses: dict[str, int]
    """How many plans of each status."""
    departure_shortfall_kwh: float
    """Energy below the target of vehicles that left, in their batteries."""
    wall_s: float | None

    devices: tuple[DeviceResult, ...]
    quarters: tuple[QuarterResult, ...]
    outside_limits: tuple[OutsideLimitResult, ...] = ()
    """Limits from outside, and by how much they were exceeded."""
    setpoints_reversed: int = 0
    """Of those that changed, from charging to discharging or back without a 0 between."""
    setpoints_late: int = 0
    """In wall time: answered by their devices later than a tenth of the settlement period after they became valid, or
    refused because they were over."""
    periods_without_setpoints: int = 0
    """In wall time: settlement periods between the first and the last commanded one that the EMS did not plan."""
    periods_commanded: int = 0
    """In wall time: settlement periods from the first to the last commanded one."""
    telemetry_late_frac: float = 0.0
    """The part of the PCC meter's telemetry that had to go without some device's, which was late or away."""
    speeds: tuple[float, ...] = ()
    """In wall time: the speeds at which the run went, one after the other."""
    network_note: str | None = None
    """What stands for the losses where the site describes no network; None: it does, or they are measured."""
    estimated_losses_kwh: float = 0.0
    """The part of ``losses_kwh`` of times in which no voltages carried the devices' power."""
    unsolved_steps: tuple[datetime, ...] = ()
    """Where the steps with such a time begin."""
    not_kept: tuple[str, ...] = ()
    """In wall time: participants that did not keep what they sent until it was stored."""

    def to_json(self) -> dict[str, Any]:
        """For ``json.dumps``: times as ISO 8601 in UTC, durations in seconds, floats as they are."""
        encoded = _plain(self)
        assert isinstance(encoded, dict)
        return encoded


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value
