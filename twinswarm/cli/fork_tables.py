"""Two plans of one moment beside each other, and what the second costs more."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from schemas.messages import Plan, Setpoint
from schemas.site import Site
from twinswarm.cli.plan_tables import UNKNOWN, Column, number, tell_series, values_of

if TYPE_CHECKING:
    from rich.console import Console

    from twinswarm.simulation.decisions import Moment, Outcome

_COSTS = {
    "objective_eur": "Objective",
    "wear_eur": "Wear",
    "demand_eur": "Demand",
    "later_eur": "Later",
    "ramping_eur": "Changes",
    "penalty_eur": "Penalty",
}
"""Fields of a plan whose sum is what it costs, and their names; `twinswarm plan` explains them."""


def cost_eur(plan: Plan) -> float:
    """Everything that the plan minimises but the tie-break."""
    return sum(float(getattr(plan, name)) for name in _COSTS)


def fork_json(fork: "Outcome", moment: "Moment") -> dict[str, Any]:
    """The fork's plan and set-points, and by how much it costs more."""
    return {
        "plan": fork.plan.model_dump(mode="json"),
        "setpoints": {name: body.model_dump(mode="json") for name, body in fork.setpoints.items()},
        "difference_eur": cost_eur(fork.plan) - cost_eur(moment.recorded),
    }


def tell_fork(fork: "Outcome", moment: "Moment", site: Site, console: "Console") -> None:
    """Prints costs, set-points, and the series that differ."""
    from rich.table import Table

    then, now = moment.recorded, fork.plan
    for title, rows in (("Cost, €", _costs(then, now)), ("Set-points, kW", _setpoints(fork, moment))):
        table = Table(title=title, title_style="bold", title_justify="left")
        table.add_column("")
        for head in ("recorded", "fork", "difference"):
            table.add_column(head, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    if now.reason is not None:
        console.print(f"Fork: {now.status}, {now.reason}", markup=False, soft_wrap=True)
    tell_series(max(then, now, key=lambda plan: len(plan.pcc_kw or ())), site, _series(then, now), console)


def _costs(then: Plan, now: Plan) -> Iterator[tuple[str, ...]]:
    for name, head in _COSTS.items():
        yield _row(head, getattr(then, name), getattr(now, name))
    yield _row("All", cost_eur(then), cost_eur(now))


def _row(head: str, then: float | None, now: float | None) -> tuple[str, ...]:
    difference = None if then is None or now is None else now - then
    return head, *(UNKNOWN if value is None else number(value, 4) for value in (then, now, difference))


def _setpoints(fork: "Outcome", moment: "Moment") -> Iterator[tuple[str, ...]]:
    for device in sorted(moment.setpoints.keys() | fork.setpoints.keys()):
        recorded = moment.setpoints.get(device)
        yield _row(device, _value(None if recorded is None else recorded.body), _value(fork.setpoints.get(device)))


def _value(body: object) -> float | None:
    if not isinstance(body, Setpoint):
        return None
    return body.limit_kw if body.power_kw is None else body.power_kw


def _series(then: Plan, now: Plan) -> Iterator[list[Column]]:
    """Pairs of columns: purchase price and PCC, and every device whose power differs."""
    pairs = [
        ("buy\n€/kWh", then.purchase_price_eur_per_kwh, now.purchase_price_eur_per_kwh, 4),
        ("PCC\nkW", then.pcc_kw, now.pcc_kw, 2),
    ]
    for name in sorted(then.devices.keys() | now.devices.keys()):
        recorded_kw, forked_kw = _power(then, name), _power(now, name)
        if recorded_kw != forked_kw:
            pairs.append((f"{name}\nkW", recorded_kw, forked_kw, 2))
    for head, recorded, forked, digits in pairs:
        unit = head.partition("\n")[2]
        yield [(head, values_of(recorded or (), digits)), (f"fork\n{unit}", values_of(forked or (), digits))]


def _power(plan: Plan, device: str) -> tuple[float, ...] | None:
    part = plan.devices.get(device)
    return None if part is None else part.power_kw
