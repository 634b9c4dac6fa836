"""Everything that is said of a run, as one frozen value: what tables, report and JSON are made of."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from schemas.capabilities import Group
from services.analysis.outcome import Outcome
from services.analysis.outside_limits import OutsideLimitResult
from services.analysis.plain import to_json


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

    setpoints_changed: int
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
        encoded = to_json(self)
        assert isinstance(encoded, dict)
        return encoded
