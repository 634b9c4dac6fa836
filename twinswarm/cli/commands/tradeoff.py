"""``tradeoff``: cost against CO2, self-consumption and peak of one's own site."""

from twinswarm.cli import options
from twinswarm.cli.output import Output, counted
from twinswarm.cli.results import name_figures, tell
from twinswarm.simulation.variants import Reference, StorageChoice


def tradeoff(
    site: options.SiteArgument = options.SITE,
    case: options.CaseOption = None,
    storage: options.StorageOption = StorageChoice.BOTH,
    date: options.DateOption = None,
    length: options.WholeDaysOption = "day",
    out: options.FigureFolderOption = None,
    json: options.JsonOption = None,
    processes: options.RunsInParallelOption = None,
) -> None:
    """What **less CO2, more self-consumption or a lower peak** cost at a site of your own: the trade-off curves.

    The time is lived through with rising weights of each (`ems.objective` of the site), and with each alone. CO2 needs
    `connection.co2_profile`, self-consumption PV.

    Examples:
        twinswarm tradeoff carpark --date 2018-05-14
        twinswarm tradeoff mysite --for week --json -
    """
    from twinswarm.extras import require

    require("highspy", "power_grid_model", "matplotlib")  # workers load them
    from twinswarm.simulation.runs import parse_date
    from twinswarm.study.figures import Drawn, write_figures
    from twinswarm.study.own_site import course_over
    from twinswarm.study.trade_off import aims_of, objectives_of, trade_off
    from twinswarm.study.trade_off_figure import figure_of
    from twinswarm.study.trade_off_table import notes, trade_off_table

    output = Output.to(json)
    chosen = options.variant(site, case, storage, Reference.UNCONTROLLED).site
    course = course_over(chosen, length, None if date is None else parse_date(date))
    folder = options.folder(out or options.RUNS / f"tradeoff-{chosen.site}")
    with counted(output.console, "objectives", len(objectives_of(aims_of(chosen)))) as one_more:
        found = trade_off(chosen, course, processes, one_more)
    drawn = write_figures([Drawn("tradeoff", figure_of(found))], folder)
    tell(output, found.to_json(), [trade_off_table(found)], notes(found))
    name_figures(output, drawn)
