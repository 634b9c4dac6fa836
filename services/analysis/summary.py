"""A run's result in words and rounded numbers; terminal and report print the same."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from services.analysis.run_result import RunResult
from services.analysis.shaving import STRICT_THRESHOLD_KW, THRESHOLD_KW
from services.analysis.timeliness import too_late
from services.history.doubts import DoubtfulValue

CARS = {
    "no-cars": "no cars",
    "uncontrolled": "cars charge at once and at full power",
    "smart": "cars are charged at the cheapest time",
}
"""What each baseline policy means for cars."""
REFERENCES = {policy: f"{cars}; no BESS, no V2G" for policy, cars in CARS.items()}
"""The meaning of each baseline policy."""

NAMED_PARTICIPANTS = 5
"""Participants that a line of the summary names."""
NAMED_STEPS = 6
"""So many steps are named one by one."""

UNKNOWN = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of the result: its label, its value with unit, and what is to be known of it."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """Figures that belong together."""

    title: str
    lines: tuple[Line, ...]


def number(value: float | None, digits: int = 2, unit: str = "") -> str:
    """Rounded for reading, with a real minus sign; a dash when it is not known."""
    if value is None:
        return UNKNOWN
    text = f"{value:,.{digits}f}".replace("-", MINUS).replace(",", " ")
    if not any(digit in text for digit in "123456789"):
        text = text.removeprefix(MINUS)
    return f"{text} {unit}".rstrip()


def percent(value: float | None) -> str:
    return UNKNOWN if value is None else number(100 * value, 0, "%")


def local(time: datetime | None, zone: str, form: str = "%Y-%m-%d %H:%M") -> str:
    return UNKNOWN if time is None else time.astimezone(ZoneInfo(zone)).strftime(form)


def duration(length: timedelta) -> str:
    hours, rest = divmod(int(length.total_seconds()), 3600)
    return f"{hours} h {rest // 60:02d} min"


def scientific(value: float | None, unit: str) -> str:
    """For residuals: their size matters, not their digits."""
    return UNKNOWN if value is None else f"{value:.1e} {unit}".replace("e-", f"e{MINUS}")


_UNITS = (("_eur_per_kwh", "€/kWh"), ("_kwh", "kWh"), ("_kw", "kW"))


def doubtful_number(doubt: DoubtfulValue) -> str:
    """The value with its unit; a register's is the step."""
    if doubt.value is None:
        return UNKNOWN
    unit = next((unit for ending, unit in _UNITS if doubt.field.endswith(ending)), "")
    return number(doubt.value, 3, unit)


def blocks(result: RunResult) -> tuple[Block, ...]:
    """The summary of a run."""
    return (
        Block("Cost", tuple(_cost(result))),
        Block("Peak shaving", tuple(_shaving(result))),
        Block("Energy", tuple(_energy(result))),
        Block("Messages", tuple(_messages(result))),
    )


def _cost(result: RunResult) -> list[Line]:
    notes = []
    if result.unsettled_steps:
        notes.append(f"{result.unsettled_steps} steps without known energy or price left out")
    if result.doubtful_values:
        notes.append(f"{result.doubtful_values} doubtful values not settled with, see below")
    lines = [Line("Cost of energy at the PCC", number(result.cost_eur, 2, "€"), "; ".join(notes))]
    if result.reference is not None:
        named = REFERENCES.get(result.reference)
        lines += [
            Line(
                "Cost of the baseline",
                number(result.reference_cost_eur, 2, "€"),
                f"{result.reference}: {named}" if named else result.reference,
            ),
            Line("Savings", number(result.savings_eur, 2, "€"), _of_savings(result)),
        ]
    if result.stored_energy_difference_kwh is not None:
        lines.append(
            Line(
                "Stored energy left, against the baseline",
                f"{number(result.stored_energy_difference_kwh, 2, 'kWh')}"
                f" ({number(result.stored_energy_difference_eur, 2, '€')})",
                f"not in the savings; valued at the mean purchase price, "
                f"{number(result.stored_price_eur_per_kwh, 4, '€/kWh')}",
            )
        )
    if result.demand_charge_eur is not None:
        compared = result.reference_demand_charge_eur is not None
        against = f"; the baseline's: {number(result.reference_demand_charge_eur, 2, '€')}" * compared
        label, peak = "Demand charge of the month", "of a month, if this were its peak"
        if result.paid_peak_kw is not None:
            label = "Demand charge that the run adds"
            peak = f"to the month's, above the {number(result.paid_peak_kw, 2, 'kW')} from before it"
        note = f"{peak}; not in the cost above{against}"
        lines.append(Line(label, number(result.demand_charge_eur, 2, "€"), note))
    if result.demand_savings_eur is not None:
        note = "a month's, once, beside the savings above"
        lines.append(Line("Savings of the demand charge", number(result.demand_savings_eur, 2, "€"), note))
    after = ""
    if result.savings_after_wear_eur is not None:
        after = f"; not in the savings, which are {number(result.savings_after_wear_eur, 2, '€')} after all wear"
    waited = "by their SOC while they were plugged, as far as it is known"
    if result.reference_vehicle_calendar_wear_eur is not None:
        waited += f"; the baseline's: {number(result.reference_vehicle_calendar_wear_eur, 2, '€')}"
    for label, wear, by in (
        ("Wear of the BESS", result.bess_wear_eur, "by its throughput"),
        ("Wear of vehicles", result.vehicle_wear_eur, "by what they gave back"),
        ("Calendar wear of the BESS", result.bess_calendar_wear_eur, "by its SOC and time"),
        ("Calendar wear of vehicles", result.vehicle_calendar_wear_eur, waited),
    ):
        if wear is not None:
            lines.append(Line(label, number(wear, 2, "€"), f"{by}{after}"))
    if result.co2_import_kg is not None:
        compared = result.reference_co2_import_kg is not None
        against = f"; the baseline's: {number(result.reference_co2_import_kg, 1, 'kg')}" * compared
        note = f"by the intensity at the time of each import{against}"
        lines.append(Line("CO2 of imported energy", number(result.co2_import_kg, 1, "kg"), note))
    return lines


def _of_savings(result: RunResult) -> str:
    """The note beside the savings; it says when set-points came too late to be obeyed."""
    late = too_late(result)
    return "baseline minus run; positive is money saved" + (f"; {late}" if late else "")


def _shaving(result: RunResult) -> list[Line]:
    peaks = _peaks(result)
    if result.reference is None:
        return [*peaks, Line("Peak-shaving factor (PSF)", UNKNOWN, "needs a baseline")]
    unknown = f", {result.psf_unknown_samples} not known" if result.psf_unknown_samples else ""
    return [
        *peaks,
        Line(
            "Peak-shaving factor (PSF)",
            number(result.psf, 3),
            f"mean ratio of run to baseline, not of the peaks; {result.psf_samples} quarter-hours; "
            f"{result.psf_excluded_samples} left out, "
            f"baseline within ±{THRESHOLD_KW} kW{unknown}",
        ),
        Line(
            "PSF, stricter threshold",
            number(result.psf_2kw, 3),
            f"{result.psf_2kw_excluded_samples} left out, baseline within ±{STRICT_THRESHOLD_KW} kW",
        ),
    ]


def _peaks(result: RunResult) -> list[Line]:
    """Highest settlement periods, and whether the connection carried more than it may."""

    def against(reference_kw: float | None) -> str:
        return "" if result.reference is None else f"the baseline: {number(reference_kw, 2, 'kW')}"

    imported, exported = against(result.reference_import_peak_kw), against(result.reference_export_peak_kw)
    lines = [
        Line("Highest import of a quarter", number(result.import_peak_kw, 2, "kW"), imported),
        Line("Highest export of a quarter", number(result.export_peak_kw, 2, "kW"), exported),
    ]
    if result.limit_exceeded_periods:
        limits = f"import {number(result.import_limit_kw, 1)}, export {number(result.export_limit_kw, 1, 'kW')}"
        count = number(result.limit_exceeded_periods, 0)
        lines.append(Line("Quarters above the connection's limit", count, f"limits: {limits}"))
    return lines


def _energy(result: RunResult) -> list[Line]:
    lines = [
        Line("Imported", number(result.import_kwh, 2, "kWh")),
        Line("Exported", number(result.export_kwh, 2, "kWh")),
        *_losses(result),
        Line(
            "Balance, largest residual of a step",
            scientific(result.energy_residual_kwh_max, "kWh"),
            result.energy_note or f"PCC {MINUS} devices {MINUS} losses",
        ),
    ]
    for limit in result.outside_limits:
        unknown = f", {limit.unknown_quarters} not known" if limit.unknown_quarters else ""
        failsafe = ", failsafe included" if limit.failsafe else ""
        lines.append(
            Line(
                f"Above the limit from outside, {limit.direction} of {limit.scope}",
                number(limit.exceeded_kwh, 2, "kWh"),
                f"{', '.join(limit.sources)}: down to {number(limit.lowest_kw, 1, 'kW')}{failsafe}, "
                f"{local(limit.start, result.time_zone)} to {local(limit.end, result.time_zone)}; "
                f"exceeded in {limit.exceeded_quarters} quarters{unknown}",
            )
        )
    if any(device.sessions for device in result.devices):
        lines.append(
            Line(
                "Vehicles left short of their target by",
                number(result.departure_shortfall_kwh, 2, "kWh"),
                "summed, in their batteries",
            )
        )
    if result.energy_causes:
        lines.append(
            Line(
                "… where every device told",
                scientific(result.energy_residual_undisturbed_kwh_max, "kWh"),
                f"{len(result.energy_causes)} {'disturbance' if len(result.energy_causes) == 1 else 'disturbances'}, "
                "see below",
            )
        )
    return lines


def _losses(result: RunResult) -> list[Line]:
    lines = [Line("Network losses", number(result.losses_kwh, 2, "kWh"), result.network_note or "")]
    if result.unsolved_steps:
        named = [local(step, result.time_zone, "%m-%d %H:%M") for step in result.unsolved_steps[:NAMED_STEPS]]
        left = len(result.unsolved_steps) - NAMED_STEPS
        more = f" and {left} more" if left > 0 else ""
        lines.append(
            Line(
                "… estimated, as the network had no solution",
                number(result.estimated_losses_kwh, 2, "kWh"),
                f"no voltages carry the devices' power in the steps from {', '.join(named)}{more}; losses of the same "
                "currents at nominal voltage were booked, and the cost above contains them",
            )
        )
    return lines


def _gaps(result: RunResult) -> str:
    gaps = "gaps in the senders' numbering"
    if not result.not_kept:
        return gaps
    named = ", ".join(result.not_kept[:NAMED_PARTICIPANTS])
    more = len(result.not_kept) - NAMED_PARTICIPANTS
    return f"{gaps}; not kept until stored: what {named}{f' and {more} more' if more > 0 else ''} sent"


def _messages(result: RunResult) -> list[Line]:
    stray = f"{result.messages_stray} more came outside the run and are not in it" if result.messages_stray else ""
    lines = [
        Line(
            "Set-points sent",
            number(result.setpoints_sent, 0),
            f"{result.setpoints_changed} changed the value, {result.setpoints_reversed} of them turned charging round",
        ),
        Line("Messages recorded", number(result.messages_recorded, 0), stray),
        Line("Messages missing", number(result.messages_missing, 0), _gaps(result)),
        Line("Dead letters", number(result.dead_letters, 0), "not of the contract, kept with their reason"),
    ]
    if result.plan_statuses:
        told = ", ".join(f"{count} {status}" for status, count in result.plan_statuses.items())
        lines.append(Line("Plans", number(sum(result.plan_statuses.values()), 0), told))
    if result.alarms:
        told = ", ".join(f"{count} {code.replace('_', ' ')}" for code, count in result.alarms_by_code.items())
        lines.append(Line("Alarms", number(result.alarms, 0), told))
    if result.wall_s is not None:
        lines.append(Line("Wall time", number(result.wall_s, 1, "s")))
    return lines
