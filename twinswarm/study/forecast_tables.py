"""The evaluation of a site's forecasts as tables, and what has to be known to read them."""

from typing import TYPE_CHECKING

from services.analysis.summary import local, number
from twinswarm.study.forecast_errors import LEADS
from twinswarm.study.forecast_evaluation import Evaluation
from twinswarm.study.forecast_regret import CAUSES

if TYPE_CHECKING:
    from rich.table import Table


def error_table(evaluation: Evaluation) -> "Table":
    """A row for each device and kind of forecast, columns by lead."""
    from rich.table import Table

    zone = evaluation.site.location.time_zone
    period = f"{local(evaluation.count_from, zone)} to {local(evaluation.walk.t_end, zone)}"
    table = Table(title=f"Errors, {period}", title_style="bold", title_justify="left")
    for head in ("device", "forecast", "error"):
        table.add_column(head, no_wrap=True)
    for lead in LEADS:
        table.add_column(f"{lead.total_seconds() / 3600:g} h", justify="right", no_wrap=True)
    devices = sorted({device for walk in evaluation.walks for device, _ in walk.errors})
    for device in devices:
        for walk in evaluation.walks:
            found = [walk.errors.get((device, lead)) for lead in LEADS]
            rows = {
                "MAE, kW": [None if one is None else one.mae_kw for one in found],
                "nRMSE": [None if one is None else one.nrmse for one in found],
                "pinball, kW": [None if one is None else one.pinball_kw for one in found],
            }
            for i, (name, values) in enumerate(rows.items()):
                if any(value is not None for value in values):
                    table.add_row(
                        device if walk is evaluation.walks[0] and i == 0 else "",
                        str(walk.kind) if i == 0 else "",
                        name,
                        *(number(value, 3) for value in values),
                    )
        table.add_section()
    return table


def regret_table(evaluation: Evaluation) -> "Table":
    """A column for each kind of forecast, a row for each cause."""
    from rich.table import Table

    course, zone = evaluation.course, evaluation.site.location.time_zone
    assert course is not None
    period = f"{local(course.t0, zone)} to {local(course.t_end, zone)}"
    table = Table(title=f"Regret in €/day, {period}", title_style="bold", title_justify="left")
    table.add_column("", no_wrap=True)
    for regret in evaluation.regrets:
        table.add_column(str(regret.kind), justify="right", no_wrap=True)
    kinds = evaluation.regrets
    parts = [regret.parts_eur_per_day() for regret in kinds]
    for cause in CAUSES:
        table.add_row(cause.value, *(number(part[cause], 3) for part in parts))
    table.add_section()
    table.add_row("total", *(number(regret.total_eur_per_day, 3) for regret in kinds), style="bold")
    table.add_row("of it energy lost", *(number(regret.energy_lost_eur_per_day, 3) for regret in kinds))
    table.add_section()
    table.add_row("load and PV", *(number(regret.load_and_pv_eur_per_day, 3) for regret in kinds), style="bold")
    table.add_row("load, PV, departures", *(number(regret.forecast_eur_per_day, 3) for regret in kinds))
    table.add_row("perfect foresight costs", *(number(regret.perfect_eur_per_day) for regret in kinds))
    shares = [regret.share_of_perfect(regret.load_and_pv_eur_per_day) for regret in kinds]
    table.add_row("load and PV, % of it", *(number(None if share is None else 100 * share) for share in shares))
    table.add_section()
    table.add_row("missing at departures, kWh", *(number(r.chain[0].departure_shortfall_kwh, 1) for r in kinds))
    table.add_row("the same, departures known", *(number(r.chain[3].departure_shortfall_kwh, 1) for r in kinds))
    return table


def notes(evaluation: Evaluation) -> list[str]:
    """What the numbers rest on."""
    found = [
        f"The data carry {evaluation.carries}.",
        "nRMSE: over the mean of what was measured. PV: steps in which there was some. Pinball: mean over the levels.",
    ]
    if evaluation.course is not None:
        found += [
            f"Causes are removed one after another in the order {', '.join(CAUSES)}; the parts sum to the total.",
            "Perfect foresight: the same EMS in the same building with load, PV and departures known.",
            "What is left in the batteries counts at the mean purchase price; what cars lack when they leave does not.",
        ]
    return found
