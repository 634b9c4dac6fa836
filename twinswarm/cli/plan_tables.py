"""A plan as tables, and as JSON."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from schemas.messages import Plan, Shortfall
from schemas.site import Site

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

UNKNOWN = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
_TIME_WIDTH, _WIDTH = 9, 10
"""Characters that the time and any other column take, padding included."""

Cell = Callable[[int], str]
"""What a column shows in a step of the plan."""
Column = tuple[str, Cell]
"""Its head, and what it shows."""


def plan_json(plan: Plan, site: Site) -> dict[str, Any]:
    """The plan message's fields, the site, and the start of each step."""
    return {
        "site": site.site,
        "time_zone": site.location.time_zone,
        **plan.model_dump(mode="json"),
        "times": [time.isoformat() for time in _times(plan)],
    }


def tell_plan(plan: Plan, site: Site, console: "Console") -> None:
    """Prints the figures of the plan, its series in as many tables as the width asks for, and its shortfalls."""
    console.print(_figures(plan, site))
    tell_series(plan, site, _groups(plan), console)
    console.print(
        _shortfalls(plan.shortfalls, site)
        if plan.shortfalls
        else "No shortfalls: every target is met, no limit is exceeded."
    )


def tell_series(plan: Plan, site: Site, groups: "Iterable[list[Column]]", console: "Console") -> None:
    """Prints groups of columns over the plan's steps, in as many tables as the width asks for."""
    for columns in _fitting(groups, max(1, (console.width - _TIME_WIDTH) // _WIDTH)):
        console.print(_series(plan, site, columns))


def _figures(plan: Plan, site: Site) -> "Table":
    from rich.table import Table
    from rich.text import Text

    end = plan.start + plan.step_s * timedelta(seconds=max(1, _steps(plan)))
    title = f"{site.site}: plan of {_local(plan.start, site, '%Y-%m-%d %H:%M')} to {_local(end, site)}"
    table = Table(title=title, title_style="bold", title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(style="bold", justify="right", no_wrap=True)
    table.add_column(style="dim")
    table.add_row("Status", str(plan.status), Text(plan.reason or "proven, within the stated gap"))
    table.add_row(
        "Objective",
        f"{number(plan.objective_eur, 4)} €",
        "equation (1): purchases minus sales, to the end of the plan",
    )
    table.add_row(
        "Wear",
        f"{number(plan.wear_eur, 4)} €",
        "by the throughput of the BESS, and what vehicles give back",
    )
    if plan.calendar_wear_eur is not None:
        by = "calendar ageing of the batteries, by their SOC and time"
        table.add_row("Calendar wear", f"{number(plan.calendar_wear_eur, 4)} €", by)
    table.add_row("Demand", f"{number(plan.demand_eur, 4)} €", "increase of the month's demand charge")
    if plan.ratchet_eur is not None:
        table.add_row("Ratchet", f"{number(plan.ratchet_eur, 4)} €", "expected increase of later months' charges")
    after = "charging expected after the plan, less the value of what is left in the BESS"
    table.add_row("Later", f"{number(plan.later_eur, 4)} €", after)
    table.add_row("Penalty", f"{number(plan.penalty_eur, 4)} €", f"price of the shortfalls ({len(plan.shortfalls)})")
    if plan.ramping_eur:
        table.add_row("Changes", f"{number(plan.ramping_eur, 4)} €", "price on changes of power")
    table.add_row("Tie-break", f"{number(plan.tie_break_eur, 4)} €", "secondary objective: at most this much")
    table.add_row("MIP gap", f"{plan.mip_gap:.1e}", f"{plan.binaries} binaries, {plan.iterations} iterations")
    return table


def _series(plan: Plan, site: Site, columns: Sequence[Column]) -> "Table":
    from rich.table import Table

    table = Table(row_styles=("", "dim"))
    table.add_column("local\ntime", no_wrap=True)
    for head, _ in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for step, time in enumerate(_times(plan)):
        table.add_row(_local(time, site), *(cell(step) for _, cell in columns))
    return table


def _groups(plan: Plan) -> Iterator[list[Column]]:
    """Columns that stay together: one of the site's series, or a device's power and SOC."""
    for head, values, digits in (
        ("purchase\n€/kWh", plan.purchase_price_eur_per_kwh, 4),
        ("sale\n€/kWh", plan.sale_price_eur_per_kwh, 4),
        ("PCC\nkW", plan.pcc_kw, 2),
        ("load\nkW", plan.load_kw, 2),
        ("losses\nkW", plan.losses_kw, 2),
    ):
        if values is not None:
            yield [(head, values_of(values, digits))]
    for name, device in plan.devices.items():
        of_device = [(f"{name}\nkW", values_of(device.power_kw, 2))]
        if device.soc_frac is not None:
            of_device.append((f"{name}\nSOC %", values_of(device.soc_frac, 1, 100.0)))
        yield of_device


def _fitting(groups: Iterable[list[Column]], most: int) -> Iterator[list[Column]]:
    """Groups side by side, as many as make no more than ``most`` columns."""
    row: list[Column] = []
    for group in groups:
        if row and len(row) + len(group) > most:
            yield row
            row = []
        row = [*row, *group]
    if row:
        yield row


def values_of(values: Sequence[float | None], digits: int, factor: float = 1.0) -> Cell:
    """The cells of a series; a step without a value has a dash."""

    def cell(step: int) -> str:
        value = values[step] if step < len(values) else None
        return UNKNOWN if value is None else number(factor * value, digits)

    return cell


def _shortfalls(shortfalls: Sequence[Shortfall], site: Site) -> "Table":
    from rich.table import Table

    table = Table(
        title="Shortfalls: targets that cannot be met, limits that are exceeded",
        title_style="bold",
        title_justify="left",
    )
    for head in ("kind", "device or element", "why"):
        table.add_column(head)
    table.add_column("local time", no_wrap=True)
    for head in ("kWh", "€"):
        table.add_column(head, justify="right", no_wrap=True)
    for shortfall in shortfalls:
        when = _local(shortfall.at, site, "%Y-%m-%d %H:%M")
        amounts = (number(shortfall.kwh, 3), number(shortfall.eur, 3))
        why = "" if shortfall.cause is None else str(shortfall.cause).replace("_", " ")
        if shortfall.device and shortfall.element:
            why += f": {shortfall.element}"
        table.add_row(str(shortfall.kind), shortfall.device or shortfall.element or UNKNOWN, why, when, *amounts)
    return table


def _steps(plan: Plan) -> int:
    return max((len(d.power_kw) for d in plan.devices.values()), default=len(plan.pcc_kw or ()))


def _times(plan: Plan) -> list[datetime]:
    return [plan.start + step * timedelta(seconds=plan.step_s) for step in range(_steps(plan))]


def _local(time: datetime, site: Site, form: str = "%H:%M") -> str:
    return f"{time.astimezone(site.zone):{form}}"


def number(value: float, digits: int) -> str:
    """With a minus sign that looks like one."""
    # Adding 0.0 turns a rounded -0.0 into 0.0.
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", MINUS)
