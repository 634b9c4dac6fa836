"""``forecast evaluate``, which measures a site's forecasts, beside the service ``forecast``."""

from typing import Annotated

import typer
from typer.core import TyperGroup

from twinswarm.cli import options
from twinswarm.cli.output import Output, counted
from twinswarm.cli.results import tell


class ServedByDefault(TyperGroup):
    """``forecast --site …`` beside ``forecast evaluate SITE``: without a subcommand it is the service."""

    def parse_args(self, ctx, args):  # type: ignore[no-untyped-def]
        if not args or args[0].startswith("-"):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


KINDS = "profile,online,persistence"


def evaluate(
    site: options.SiteArgument = options.SITE,
    case: options.CaseOption = None,
    kinds: Annotated[
        str,
        typer.Option("--kinds", metavar="KIND,…", help="Kinds of forecast to measure.", rich_help_panel="Site"),
    ] = KINDS,
    date: options.DateOption = None,
    length: Annotated[
        str,
        typer.Option(
            "--for",
            metavar="day|week|month|22d|none",
            help="Whole local days from --date on that are lived through for the regret; none: errors alone.",
            rich_help_panel="Time",
        ),
    ] = "week",
    json: options.JsonOption = None,
    processes: options.RunsInParallelOption = None,
) -> None:
    """Measure a site's forecasts: **errors** over all its data, and **regret** to perfect foresight in €/day.

    The errors are those of a walk forward over all days that the profiles of load and PV carry: MAE, nRMSE and pinball
    loss by how far ahead. For the regret days are lived through with the forecast as it is, then with load, PV,
    departures, dead time, calm and network removed one after another. Without --date it is the site's date.

    Examples:
        twinswarm forecast evaluate carpark --for 3d
        twinswarm forecast evaluate carpark_year --kinds profile,online --date 2018-10-01 --for 22d --json -
        twinswarm forecast evaluate mysite --for none
    """
    from schemas.errors import Code, InputError
    from schemas.site import ForecastKind
    from twinswarm.extras import require

    require("highspy", "power_grid_model", "pvlib")
    from twinswarm.simulation.runs import parse_date
    from twinswarm.simulation.variants import Reference, StorageChoice
    from twinswarm.study.forecast_evaluation import evaluate as measured
    from twinswarm.study.forecast_regret import CAUSES
    from twinswarm.study.forecast_tables import error_table, notes, regret_table

    try:
        chosen_kinds = [ForecastKind(name) for name in dict.fromkeys(kinds.replace(" ", "").split(","))]
    except ValueError:
        raise InputError.one("--kinds", f"{KINDS} are allowed", kinds, code=Code.UNKNOWN) from None
    output = Output.to(json)
    chosen = options.variant(site, case, StorageChoice.BOTH, Reference.SMART).site
    lived = None if length == "none" else length
    runs = 0 if lived is None else len(chosen_kinds) * 2 + len(CAUSES) - 1
    begin = None if date is None else parse_date(date)
    with counted(output.console, "walks and runs", len(chosen_kinds) + runs) as one_more:
        found = measured(chosen, chosen_kinds, begin, lived, processes, one_more, one_more)
    tables = [error_table(found), None if found.course is None else regret_table(found)]
    tell(output, found.to_json(), tables, notes(found))


def departures(
    site: options.SiteArgument = "carpark",
    case: options.CaseOption = None,
    chances: Annotated[
        str,
        typer.Option(
            "--leave-frac",
            metavar="P,…",
            help="Chances with which a vehicle has left before the learned departure that is planned with.",
            rich_help_panel="Site",
        ),
    ] = "0.05,0.1,0.2",
    date: options.DateOption = None,
    length: Annotated[
        str,
        typer.Option(
            "--for", metavar="day|week|month|22d", help="Whole local days from --date on.", rich_help_panel="Time"
        ),
    ] = "week",
    json: options.JsonOption = None,
    processes: options.RunsInParallelOption = None,
) -> None:
    """Compare plans with **announced, learned and known departures** over a site's real charging sessions.

    Cost, what the cars lack when they leave, and what it costs that they lack less. The EMS learned from the sessions
    before the time; `ems.learned_departures` of a site makes it plan so.

    Examples:
        twinswarm forecast departures carpark --date 2018-05-21 --for week
        twinswarm forecast departures carpark_year --date 2018-10-01 --for 22d --leave-frac 0.2
    """
    from twinswarm.extras import require

    require("highspy", "power_grid_model", "pvlib")
    from twinswarm.simulation.runs import parse_date
    from twinswarm.simulation.variants import Reference, StorageChoice
    from twinswarm.study.departures import compare_departures, departure_table
    from twinswarm.study.own_site import course_over

    levels = _chances(chances)
    output = Output.to(json)
    chosen = options.variant(site, case, StorageChoice.BOTH, Reference.SMART).site
    course = course_over(chosen, length, None if date is None else parse_date(date))
    with counted(output.console, "runs", len(levels) + 2) as one_more:
        found = compare_departures(chosen, course, levels, processes, one_more)
    note = (
        "Known: drivers leave when they announce. Stored: change of the energy in all batteries, cars from arrival to "
        "departure, at the mean purchase price of the time."
    )
    tell(output, found.to_json(), [departure_table(found)], [note])


def _chances(text: str) -> list[float]:
    """Raises InputError."""
    from schemas.errors import Code, InputError

    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < chance < 1 for chance in found):
        raise InputError.one("--leave-frac", "numbers between 0 and 1, such as 0.1,0.2", text, code=Code.RANGE)
    return list(dict.fromkeys(found))
