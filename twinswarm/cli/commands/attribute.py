"""``attribute``: who saved what at one's own site."""

from typing import Annotated

import typer

from twinswarm.cli import options
from twinswarm.cli.output import Output, counted
from twinswarm.cli.results import name_figures, tell
from twinswarm.simulation.variants import Reference, StorageChoice

_MOST = 10


def attribute(
    site: options.SiteArgument = options.SITE,
    case: options.CaseOption = None,
    reference: options.ReferenceOption = Reference.UNCONTROLLED,
    date: options.DateOption = None,
    length: options.WholeDaysOption = "day",
    most_players: Annotated[
        int,
        typer.Option(
            "--most-players",
            min=1,
            max=_MOST,
            help="With more devices than these all chargers are one player, then all heat pumps, then all BESSs. "
            "Each player doubles the number of runs.",
        ),
    ] = 5,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the days that are drawn for the interval.")] = 1,
    out: options.FigureFolderOption = None,
    json: options.JsonOption = None,
    processes: options.RunsInParallelOption = None,
) -> None:
    """Attribute the savings of a site to its **devices, mechanisms and cars**; all of them add up.

    Every combination of the devices that the EMS may move is lived through. A device's share is its Shapley value: what
    it adds on average over all orders in which the devices could be put to use. Every share is split into PV used here,
    arbitrage, curtailment avoided, losses and peak. Each car gets a statement: energy in and out, wear, € earned. From
    28 days on there is an interval: what such days save in the mean.

    Examples:
        twinswarm attribute fit_g2v --case 6
        twinswarm attribute mysite --for month --most-players 3 --json -
    """
    from twinswarm.extras import require

    require("highspy", "power_grid_model", "matplotlib", "scipy")  # workers load them
    from twinswarm.attribution.attribute import attribute_savings
    from twinswarm.attribution.figure import figure_of
    from twinswarm.attribution.players import players_of
    from twinswarm.attribution.tables import car_table, notes, share_table
    from twinswarm.simulation.runs import parse_date
    from twinswarm.study.figures import Drawn, write_figures
    from twinswarm.study.own_site import course_over

    output = Output.to(json)
    chosen = options.variant(site, case, StorageChoice.BOTH, reference).site
    players = players_of(chosen, most_players)
    course = course_over(chosen, length, None if date is None else parse_date(date))
    folder = options.folder(out or options.RUNS / f"attribute-{chosen.site}")
    with counted(output.console, "combinations", 2 ** len(players)) as one_more:
        found = attribute_savings(chosen, course, reference, players, processes, seed, one_more)
    drawn = write_figures([Drawn("attribution", figure_of(found))], folder)
    tell(output, found.to_json(), [share_table(found), car_table(found)], notes(found))
    name_figures(output, drawn)
