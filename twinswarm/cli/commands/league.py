"""``league``: any EMS on the same days of the same plant, beside perfect foresight."""

from pathlib import Path
from typing import Annotated

import typer

from twinswarm.cli import options
from twinswarm.cli.output import Output, counted
from twinswarm.cli.results import name_figures, tell
from twinswarm.simulation.variants import Reference, StorageChoice, with_storage


def league(
    site: options.SiteArgument = "carpark",
    case: options.CaseOption = None,
    storage: options.StorageOption = StorageChoice.BOTH,
    ems: Annotated[
        list[str] | None,
        typer.Option(
            "--ems",
            metavar="NAME|FILE.py:NAME|NAME=COMMAND",
            help="A contestant, several times: ours, foresight, uncontrolled, timer, pv_surplus, one of yours, "
            "or a program that takes problems and gives set-points. uncontrolled always takes part.",
            show_default="all with a name",
        ),
    ] = None,
    date: options.DateOption = None,
    length: options.WholeDaysOption = "day",
    figure: Annotated[
        Path | None,
        typer.Option("--figure", metavar="DIR", help="Folder for a figure.", rich_help_panel="Results"),
    ] = None,
    json: options.JsonOption = None,
    processes: options.RunsInParallelOption = None,
) -> None:
    """A **league** of EMS: the same days, the same plant, scored at the PCC meter beside perfect foresight.

    The table is the same on every machine, to the last digit: --json has its SHA-256. An algorithm of your own
    takes part as docs/league.md shows.

    Examples:
        twinswarm league carpark --for 2d
        twinswarm league mysite --ems ours --ems examples/ems.py:charge_evenly --json -
        twinswarm league mysite --ems ours --ems "emhass=emhass/bin/python examples/emhass_ems.py"
    """
    from twinswarm.extras import require

    require("highspy", "power_grid_model", "scipy", *(["matplotlib"] if figure else []))
    from sites.loader import load_site
    from twinswarm.league.contestants import NAMES
    from twinswarm.league.output import NOTES, figure_of, league_table
    from twinswarm.league.result import play_league
    from twinswarm.simulation.runs import parse_date
    from twinswarm.study.own_site import course_over

    output = Output.to(json)
    chosen = with_storage(load_site(site, case), storage, Reference.UNCONTROLLED)
    course = course_over(chosen, length, None if date is None else parse_date(date))
    names = list(ems or NAMES)
    folder = None if figure is None else options.folder(figure)
    with counted(output.console, "contestants", len({*names, "uncontrolled"})) as one_more:
        found = play_league(chosen, course, names, processes, one_more)
    value = found.to_json()
    drawn = []
    if folder is not None:
        from twinswarm.study.figures import write_figures  # which loads matplotlib

        drawn = write_figures([figure_of(found)], folder)
    tell(output, value, [league_table(found)], NOTES)
    output.console.print(f"SHA-256  {value['sha256']}", markup=False, soft_wrap=True)
    name_figures(output, drawn)
