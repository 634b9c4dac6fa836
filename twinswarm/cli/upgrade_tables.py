"""An upgrade check as tables: the decisions, then the days under both versions."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from services.analysis.summary import UNKNOWN, number
from twinswarm.simulation.upgrade_result import RECORDED, Again, DayCheck, Side, Tolerances, UpgradeCheck

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_ROWS: tuple[tuple[str, Callable[[Side], float | None], int], ...] = (
    ("energy, €", lambda side: side.cost_eur, 2),
    ("wear, €", lambda side: side.wear_eur, 2),
    ("left in batteries, €", lambda side: side.stored_eur, 2),
    ("energy and wear less what is left, €", lambda side: side.all_eur, 2),
    ("demand charge, € a month", lambda side: side.demand_charge_eur, 2),
    ("highest import, kW", lambda side: side.import_peak_kw, 1),
    ("periods above the connection", lambda side: side.above_connection_periods, 0),
    ("periods above limits from outside", lambda side: side.outside_limit_periods, 0),
    ("… energy above them, kWh", lambda side: side.outside_limit_kwh, 2),
    ("periods below the least SOC", lambda side: side.below_floor_periods, 0),
    ("missed targets, kWh", lambda side: side.missed_kwh, 2),
    ("set-points that change", lambda side: side.changes, 0),
    ("… by, kW in all", lambda side: side.moved_kw, 1),
    ("… and reverse", lambda side: side.reversals, 0),
    ("plans", lambda side: side.plans, 0),
    ("… that could not be made", lambda side: side.not_made, 0),
    ("a plan takes, s: mean", lambda side: side.plan_s_mean, 3),
    ("… longest", lambda side: side.plan_s_max, 3),
    ("steps that could not be settled", lambda side: side.unsettled_steps, 0),
)


def tell_upgrade(check: UpgradeCheck, allowed: Tolerances, console: "Console") -> None:
    """Prints the decisions and the days, then the sum in full, then the verdict."""
    if check.days:
        console.print(_days(check))
        console.print(_sum(check))
        again = check.total.again
        for line in (*_again_lines(again, check.before), *_warnings(check)):
            console.print(line, markup=False, soft_wrap=True)
    for day, reason in check.failed.items():
        console.print(f"{day} could not be lived again: {reason}", markup=False, soft_wrap=True)
    worse = check.worse(allowed)
    for line in worse:
        console.print(f"Worse: {line}", markup=False, soft_wrap=True)
    if not worse:
        console.print("Not worse than allowed", markup=False)
    console.print(f"Run {check.run}, this is {check.software}", markup=False, soft_wrap=True)


def _days(check: UpgradeCheck) -> "Table":
    table = _table(f"{check.site}: {check.before} and this version, by local day")
    for head in ("local\nday", "decisions\nagain", "differ", "before\n€", "now\n€", "violations\nbefore, now"):
        table.add_column(head, justify="left" if head.startswith("local") else "right", no_wrap=True)
    for head in ("set-point changes\nbefore, now", "not made\nbefore, now"):
        table.add_column(head, justify="right", no_wrap=True)
    for day in check.days:
        table.add_row(*_day(day))
    table.add_section()
    table.add_row(*_day(check.total), style="bold")
    return table


def _day(day: DayCheck) -> tuple[str, ...]:
    again, before, now = day.again, day.before, day.now
    return (
        "sum" if day.date is None else f"{day.date}{'' if day.hours >= 23 else f' ({number(day.hours, 2)} h)'}",
        f"{again.taken} of {again.decisions}",
        str(again.different),
        number(before.all_eur),
        number(now.all_eur),
        f"{before.violations}, {now.violations}",
        f"{before.changes}, {now.changes}",
        f"{before.not_made}, {now.not_made}",
    )


def _sum(check: UpgradeCheck) -> "Table":
    total = check.total
    table = _table("All days")
    table.add_column("")
    for head in ("measured", "before", "now", "now - before"):
        table.add_column(head, justify="right", no_wrap=True)
    for name, value, digits in _ROWS:
        values = [value(side) for side in (total.measured, total.before, total.now)]
        if any(each is not None for each in values):
            table.add_row(name, *(_text(each, digits) for each in values), _text(_more(values[1], values[2]), digits))
    return table


def _table(title: str) -> "Table":
    from rich.box import SIMPLE
    from rich.table import Table

    return Table(
        title=title,
        box=SIMPLE,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        title_style="bold",
        title_justify="left",
    )


def _text(value: float | None, digits: int) -> str:
    return UNKNOWN if value is None else number(value, digits)


def _more(before: float | None, now: float | None) -> float | None:
    return None if before is None or now is None else now - before


def _again_lines(again: Again, before: str) -> Iterator[str]:
    beside = "as recorded" if before == RECORDED else f"as {before} takes them"
    yield (
        f"Open-loop: {again.taken} of {again.decisions} decisions taken again {beside}, {again.different} differ; "
        f"{again.setpoints_different} of {again.setpoints} set-points, by {number(again.largest_kw, 2)} kW at most, "
        f"{number(again.sum_kw, 1)} kW in all"
    )
    if again.plan_s_max is not None:
        yield f"A decision takes {number(again.plan_s_mean, 3)} s, {number(again.plan_s_max, 3)} s at most"
    if again.other_site:
        yield (
            f"{again.other_site} decisions were made with another site description than the recorder's, or by a "
            "version whose descriptions have other fields: here the recorder's holds"
        )
    for reason, count in again.reasons.items():
        yield f"Not taken again: {count}, {reason}"


def _warnings(check: UpgradeCheck) -> Iterator[str]:
    measured, before, now = check.total.measured, check.total.before, check.total.now
    if check.before == RECORDED:
        yield (
            f"The model: {number(before.all_eur)} € where {number(measured.all_eur)} € were measured; its error is in "
            "before and now alike"
        )
    if not before.setpoints and now.setpoints:
        yield "No set-point was recorded: the EMS observed, so before is every device on its fallback"
    if before.not_made > now.not_made:
        yield (
            f"{before.not_made} plans could not be made before, {now.not_made} now: messages that the EMS lost on the "
            "day are not lost here; --with or --baseline lives both versions without losses"
        )
