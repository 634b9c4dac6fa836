"""``attribute``: who saved what at one's own site."""

from pathlib import Path
from typing import Annotated

import typer

from twinswarm.cli import options
from twinswarm.cli.output import Output, on_terminal
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
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="Folder for the figure.",
            show_default=f"{options.RUNS}/attribute-SITE",
            rich_help_panel="Results",
        ),
    ] = None,
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
    from rich.progress import Progress

    from twinswarm.attribution.attribute import attribute_savings
    from twinswarm.attribution.figure import figure_of
    from twinswarm.attribution.players import players_of
    from twinswarm.attribution.tables import car_table, notes, share_table
    from twinswarm.simulation.runs import parse_date
    from twinswarm.study.figures import Drawn, write_figures
    from twinswarm.study.own_site import course_over

    output = Output.to(json)
    console = output.console
    chosen = options.variant(site, case, StorageChoice.BOTH, reference).site
    players = players_of(chosen, most_players)
    course = course_over(chosen, length, None if date is None else parse_date(date))
    folder = options.folder(out or options.RUNS / f"attribute-{chosen.site}")
    with Progress(console=console, transient=True, disable=not on_terminal(console)) as progress:
        task = progress.add_task("combinations", total=2 ** len(players))
        found = attribute_savings(chosen, course, reference, players, processes, seed, lambda: progress.advance(task))
    output.write(found.to_json())
    console.print(share_table(found))
    if (cars := car_table(found)) is not None:
        console.print(cars)
    for note in notes(found):
        console.print(note, markup=False)
    (png, _) = write_figures([Drawn("attribution", figure_of(found))], folder)
    console.print(f"Figure   {png}", markup=False, soft_wrap=True)
