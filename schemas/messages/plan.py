"""plan: what the EMS intends for the rest of its window, and how it came to it."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from schemas.messages.birth import Phases
from schemas.messages.control import SetpointCause
from schemas.messages.series import Values
from schemas.messages.stamp import Body, DeviceId
from schemas.messages.vehicle import VehicleValue
from schemas.units import Kw, UtcTime


class PlanStatus(StrEnum):
    """Where the plan comes from, best first."""

    OPTIMAL = "optimal"
    INCUMBENT = "incumbent"
    """The solver ran out of its budget; the best solution it had, with its gap."""
    PREVIOUS = "previous"
    """No usable solution; the previous plan, shifted."""
    SAFE_RULE = "safe_rule"
    """No usable solution and no previous plan: every device follows its fallback."""


class EmsMode(StrEnum):
    CONTROL = "control"
    OBSERVE = "observe"
    """Plans and publishes no set-point."""
    HOLD = "hold"
    """Neither plans nor commands: the devices follow their fallback."""


class ShortfallKind(StrEnum):
    DEPARTURE = "departure"
    """A vehicle will leave with less than its target."""
    TERMINAL = "terminal"
    """A BESS will miss its SOC at local midnight."""
    SOC_MIN = "soc_min"
    """A store is below the least SOC allowed and cannot be back at once."""
    COMFORT = "comfort"
    """A thermal buffer will hold less heat than its comfort band asks for; ``kwh``: at the worst instant."""
    UNSERVED_HEAT = "unserved_heat"
    """A thermal buffer will be empty while heat is wanted; ``kwh``: heat that is missing."""
    CONNECTION_LIMIT = "connection_limit"
    """Import or export exceeds what the connection allows."""
    NETWORK_LIMIT = "network_limit"
    """A cable or the transformer carries more than it may; ``element`` names it."""
    OUTSIDE_LIMIT = "outside_limit"
    """More power than a limit from outside allows; ``element`` is its group, or ``pcc``."""
    GROUP_LIMIT = "group_limit"
    """A group of devices has more power than the site allows it; ``element`` is the group's place in the site."""


class ShortfallCause(StrEnum):
    """Why a target is missed."""

    TOO_LITTLE_TIME = "too_little_time"
    """Full power from now, or from the arrival on, does not reach it: the vehicle comes too late or leaves too soon."""
    CHARGER_TOO_SMALL = "charger_too_small"
    """The same, while the vehicle could take more than its charger gives, and that would do."""
    LIMIT_BINDING = "limit_binding"
    """It is within reach of the device, but a limit leaves it less; ``element`` names one."""
    SOC_BELOW_MINIMUM = "soc_below_minimum"
    """The store was found below the least SOC allowed."""
    NOT_WORTH_IT = "not_worth_it"
    """The energy costs more than the price of missing it."""


class Shortfall(Body):
    """A wish that cannot be met, bought off at a stated price instead of making the plan impossible."""

    kind: ShortfallKind
    device: DeviceId | None = None
    """None: the wish is not of one device."""
    element: Annotated[str, Field(max_length=100)] | None = None
    """The element or group whose limit it is, named as in the network twin's telemetry and alarms; ``connection``,
    ``pcc`` (a limit from outside) or an element, where a limit is the cause of a missed target."""
    cause: ShortfallCause | None = None
    """Left out: of a limit, or not known."""
    at: UtcTime
    kwh: Annotated[float, Field(ge=0)]
    eur: Annotated[float, Field(ge=0)]


class Assumption(Body):
    """A value of a charging session that nobody measured or said, with which the plan reckons."""

    value: VehicleValue
    number: float | None = None
    """In the unit of the value's name; None for a departure."""
    time: UtcTime | None = None
    """Of a departure."""
    arrival: UtcTime
    """Of the charging session: when it began, as far as is known, or when it is expected."""


class DevicePlan(Body):
    """A device's power per step of the window [kW, sign of `schemas.units`] and SOC at each step's end."""

    power_kw: Values
    soc_frac: tuple[Annotated[float, Field(ge=-1e-6, le=1 + 1e-6)] | None, ...] | None = Field(
        default=None, strict=False
    )
    """None where no vehicle is plugged, or nothing is known of its SOC; absent for devices that store nothing."""
    assumptions: Annotated[tuple[Assumption, ...], Field(max_length=1000, strict=False)] | None = None
    """Of a charger's sessions in the window; left out: nothing had to be assumed."""
    left_to_fallback: Annotated[str, Field(max_length=500)] | None = None
    """Why this device gets no set-point and follows its fallback; its power is then a forecast. Left out: it is
    planned."""
    bounded: Annotated[str, Field(max_length=500)] | None = None
    """Why it is planned with less than its rating. Left out: it is not."""
    cause: SetpointCause | None = None
    """Why it is commanded what it is in the first step. Left out: it is not commanded, or the cause is not known."""
    element: Annotated[str, Field(max_length=100)] | None = None
    """The limit, where that is the cause: ``connection``, ``pcc`` (from outside), a group or an element."""
    phases: Phases | None = None
    """On which a charger that can switch them charges in the first step. Left out: it does not charge, or cannot."""
    stored_eur_per_kwh: float | None = None
    """What another kWh in its store is worth at the end of the first step."""


LimitValues = tuple[Annotated[float, Field(ge=0, le=1e6)] | None, ...]


class PlannedLimit(Body):
    """A limit from outside as the plan has it: the strictest of all senders by step [kW], None where there is none."""

    group: DeviceId | None = None
    """None: at the PCC."""
    source: Annotated[str, Field(max_length=500)]
    """Whose limits they are."""
    failsafe: bool = False
    """The heartbeat of one of them has stopped."""
    import_kw: Annotated[LimitValues, Field(strict=False)] | None = None
    export_kw: Annotated[LimitValues, Field(strict=False)] | None = None


class PlannedRequest(Body):
    """What the plan makes of a person's request for a device."""

    source: Annotated[str, Field(max_length=100)]
    asked_kw: Kw
    """The power, or the limit of an inverter, that is asked for."""
    until: UtcTime
    planned_kw: Kw | None = None
    """What is commanded; left out: nothing, as the device has no part in the plan."""
    reason: Annotated[str, Field(max_length=500)] | None = None
    """Why it is not done, or not all of it. Left out: it is done."""


class KnownDevice(Body):
    """What the EMS knows of a device when it plans, in wall time; ages are run time by the EMS' clock."""

    power_kw: float | None = None
    """Newest power [kW, sign of `schemas.units`; of the PCC meter positive on import]; left out: none was received."""
    soc_frac: float | None = None
    """Newest SOC of its store, or of the vehicle at its plug."""
    age_s: Annotated[float, Field(ge=0)] | None = None
    """Time since its newest telemetry was received [s]."""
    clock_behind_s: float | None = None
    """By how much its clock is behind that of the EMS [s], negative when ahead; left out: within the bound."""
    in_plan: bool
    why_not: Annotated[str, Field(max_length=500)] | None = None
    """Why it is not in the plan."""
    bounded: Annotated[str, Field(max_length=500)] | None = None
    """Why it is planned with less than its rating."""


class Plan(Body):
    """Series hold in steps of ``step_s`` from ``start`` on; the first is the quarter that is commanded now."""

    epoch: Annotated[int, Field(ge=0)]
    mode: EmsMode
    status: PlanStatus
    reason: Annotated[str, Field(max_length=2000)] | None = None
    trigger: Annotated[str, Field(max_length=500)] | None = None
    """Wall time: what happened within the settlement period that this plan was made for. Left out: it is the one of the
    period's start."""
    start: UtcTime
    step_s: Annotated[int, Field(gt=0, le=86_400)]
    objective_eur: float
    """Equation (1) over the window: purchase cost minus sale revenue. What is minimised besides follows."""
    wear_eur: float = 0.0
    """Battery wear: the site's price per kWh, times the BESS's throughput in the window, charged plus discharged; and
    its price for vehicles, times what they give back."""
    calendar_wear_eur: float | None = None
    """Price of what batteries age by time in the window, by their SOC. Left out: it has none."""
    demand_eur: float = 0.0
    """By how much the window's highest import raises the demand charge of the month."""
    ratchet_eur: float | None = None
    """By how much the window's highest import is expected to raise the demand charges of later months. Left out: the
    tariff has no ratchet, or no month before is known."""
    later_eur: float = 0.0
    """Beyond the window: what charging the vehicles that stay on is expected to cost, less the value of what is left in
    the BESSs."""
    ramping_eur: float = 0.0
    """The site's price on changes of power, times the changes of all stores in the window [kW]."""
    calm_eur: float = 0.0
    """By how much it is dearer than one that changes every set-point at will: `ems.calm`, `ems.reversal_price_eur`."""
    penalty_eur: float = 0.0
    """Price of the shortfalls."""
    weighting_eur: float | None = None
    """By how much ``ems.objective`` makes the objective differ from money: its weight on money, CO2 and energy that
    leaves the site. Left out: it is money."""
    peak_weight_eur: float | None = None
    """Its weight on the peak times the highest import of the month. Left out: it has none."""
    co2_import_kg: float | None = None
    """Emissions of the window's imports. Left out: their intensity is not known."""
    tie_break_eur: float = 0.0
    """Value of the secondary objective; no plan of equal cost is further from optimal than this."""
    mip_gap: float = 0.0
    """By how much it may be dearer than the optimum, as a share of its own cost."""
    binaries: Annotated[int, Field(ge=0)] = 0
    iterations: Annotated[int, Field(ge=0)] = 0
    shortfalls: Annotated[tuple[Shortfall, ...], Field(strict=False)] = ()
    devices: dict[DeviceId, DevicePlan] = Field(default_factory=dict)
    limits: Annotated[tuple[PlannedLimit, ...], Field(strict=False)] = ()
    """Limits from outside that the plan keeps to, or names as shortfalls."""
    requests: dict[DeviceId, PlannedRequest] | None = None
    """What persons ask for by device, and what comes of it. Left out: nobody asks for anything."""
    knowledge: dict[DeviceId, KnownDevice] | None = None
    """Wall time: what is known of every device that has published a birth. In lock-step all is known of all."""
    doubts: (
        Annotated[tuple[Annotated[str, Field(max_length=500)], ...], Field(max_length=1000, strict=False)] | None
    ) = None
    """What was reported and is not acted on, because it cannot be, each with its reason. Left out: nothing."""
    load_kw: Values | None = None
    pcc_kw: Values | None = None
    """Positive on import, losses included."""
    losses_kw: Values | None = None
    purchase_price_eur_per_kwh: Values | None = None
    sale_price_eur_per_kwh: Values | None = None
    energy_eur_per_kwh: Values | None = None
    """What another kWh would cost at the site's bus: the dual of the power balance (2). It holds the price at the PCC,
    and what the month's peak and limits that bind there add. Where several prices support the plan, it is one of them.
    Left out: not known."""
