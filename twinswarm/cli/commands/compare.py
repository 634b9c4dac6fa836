"""``compare``: one's own site without storage, with BESS, with V2G and with both."""

from typing import Annotated

import typer

from twinswarm.cli import options
from twinswarm.cli.output import Output, counted
from twinswarm.cli.results import name_figures, tell
from twinswarm.simulation.variants import Reference, StorageChoice


def compare(
    site: options.SiteArgument = options.SITE,
    case: options.CaseOption = None,
    reference: options.ReferenceOption = Reference.UNCONTROLLED,
    date: options.DateOption = None,
    length: options.WholeDaysOption = "day",
    out: options.FigureFolderOption = None,
    json: options.JsonOption = None,
    processes: Annotated[
        int | None,
        typer.Option("--processes", min=1, max=256, help="Variants that run in parallel.", show_default="one per core"),
    ] = None,
) -> None:
    """Compare **none, BESS, V2G and both** for a site of your own, over a day, a week or a month.

    Cost with the demand charge, savings, energy left in the batteries, highest import and peak-shaving factor in
    one table, with a figure. Every variant is run by the same twins, network and EMS as with `run`, in one piece.

    Examples:
        twinswarm compare carpark --date 2018-05-14 --for week
        twinswarm compare mysite --for month --reference smart --json -
    """
    from twinswarm.extras import require

    require("highspy", "power_grid_model", "matplotlib")  # workers load them
    from twinswarm.simulation.runs import parse_date
    from twinswarm.study.figures import Drawn, write_figures
    from twinswarm.study.own_site import compare_variants, course_over, variants_of
    from twinswarm.study.own_site_figure import figure_of
    from twinswarm.study.own_site_table import comparison_table, notes

    output = Output.to(json)
    chosen = options.variant(site, case, StorageChoice.BOTH, reference).site
    course = course_over(chosen, length, None if date is None else parse_date(date))
    folder = options.folder(out or options.RUNS / f"compare-{chosen.site}")
    with counted(output.console, "variants", len(variants_of(chosen, reference))) as one_more:
        found = compare_variants(chosen, course, reference, processes, one_more)
    drawn = write_figures([Drawn("comparison", figure_of(found))], folder)
    tell(output, found.to_json(), [comparison_table(found)], notes(found))
    name_figures(output, drawn)
