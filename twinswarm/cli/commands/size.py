"""``size``: which storage, chargers, PV and connection pay at a site."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twinswarm.cli import options
from twinswarm.cli.output import Output, on_terminal, stoppable
from twinswarm.cli.results import name_figures, show
from twinswarm.simulation.variants import Reference, StorageChoice

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from rich.progress import Progress

    from schemas.site import Site
    from twinswarm.size.sweep import Assessed
    from twinswarm.year.order import YearOrder

_DESIGN = "What is varied"


def size(
    site: Annotated[str, typer.Argument(metavar="SITE", help="A site description with `economics`.")],
    bess_kwh: Annotated[
        str, typer.Option("--bess-kwh", metavar="0,40,80", help="Energies of the BESS.", rich_help_panel=_DESIGN)
    ] = "0",
    bess_kw: Annotated[
        str, typer.Option("--bess-kw", metavar="20,40", help="Powers of the BESS.", rich_help_panel=_DESIGN)
    ] = "0",
    v2g: Annotated[
        str, typer.Option("--v2g", metavar="0,2,4", help="Numbers of V2G chargers.", rich_help_panel=_DESIGN)
    ] = "0",
    smart: Annotated[
        str,
        typer.Option("--smart", metavar="0,4", help="Numbers of smart one-way chargers.", rich_help_panel=_DESIGN),
    ] = "0",
    pv: Annotated[
        str | None,
        typer.Option(
            "--pv", metavar="50,100", help="Rated PV power, kW.", show_default="the site's", rich_help_panel=_DESIGN
        ),
    ] = None,
    connection: Annotated[
        str | None,
        typer.Option(
            "--connection",
            metavar="100,150",
            help="Import power, kW.",
            show_default="the site's",
            rich_help_panel=_DESIGN,
        ),
    ] = None,
    case: options.CaseOption = None,
    first: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="YYYY-MM-DD", help="First local day.", show_default="1 January", rich_help_panel="Time"
        ),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option("--days", help="Number of local days.", show_default="a year", rich_help_panel="Time"),
    ] = None,
    typical: Annotated[
        int, typer.Option("--typical", min=1, max=366, help="Typical days in their place.", rich_help_panel="Time")
    ] = 12,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Run the base, the best design, the best with V2G and the same without it through all days.",
            rich_help_panel="Time",
        ),
    ] = False,
    jobs: options.JobsOption = None,
    out: options.FigureFolderOption = None,
    json: options.JsonOption = None,
) -> None:
    """Which **size** pays: BESS, V2G and smart chargers, PV and connection, by net present value.

    Every combination is run by the same twins, network and EMS as with `run`, on typical days of the year. Savings are
    against the site without BESS whose cars charge at once; prices are the site's `economics`.

    Examples:
        twinswarm size mysite --bess-kwh 0,40,80 --bess-kw 20,40 --v2g 0,2,4 --check
    """
    from twinswarm.extras import require

    require("highspy", "power_grid_model", "matplotlib")
    from rich.progress import Progress

    from twinswarm.cli.numbers import counts_of, numbers_of
    from twinswarm.simulation.runs import parse_date
    from twinswarm.size.design import base_of, designs, site_of
    from twinswarm.size.output import error_note, figures_of, size_json, size_notes, size_table
    from twinswarm.size.sweep import assess, best_of, economics_of, without_v2g_to_assess
    from twinswarm.size.typical import features_of, typical_days
    from twinswarm.study.figures import write_figures
    from twinswarm.year.engine import local_workers
    from twinswarm.year.order import order_over

    output = Output.to(json)
    console = output.console
    chosen = options.variant(site, case, StorageChoice.BOTH, Reference.UNCONTROLLED).site
    prices = economics_of(chosen)
    found = designs(
        chosen,
        numbers_of(bess_kwh, "--bess-kwh"),
        numbers_of(bess_kw, "--bess-kw"),
        counts_of(v2g, "--v2g"),
        counts_of(smart, "--smart"),
        [] if pv is None else numbers_of(pv, "--pv"),
        [] if connection is None else numbers_of(connection, "--connection"),
    )
    base = site_of(chosen, base_of(chosen))
    variants = {"base": base, found[-1].name: site_of(chosen, found[-1])}
    order = order_over(
        base, Reference.UNCONTROLLED, None if first is None else parse_date(first, "--from"), days, variants
    )
    features, peak = features_of(chosen, order.midnights)
    few = typical_days(features, typical, peak)
    folder = options.folder(out or options.RUNS / f"size-{chosen.site}")
    whole: list[Assessed] = []
    with (
        Progress(console=console, transient=True, disable=not on_terminal(console)) as progress,
        local_workers(jobs, order, len(found)) as executor,
    ):
        task = progress.add_task("designs", total=len(found))
        results = assess(chosen, prices, order, few, found, executor, lambda: progress.advance(task))
        if besides := without_v2g_to_assess(results):
            progress.update(task, total=len(found) + 1 + len(besides))
            again = [found[0], *besides]
            results += assess(chosen, prices, order, few, again, executor, lambda: progress.advance(task))[1:]
        if check:
            whole = _by_all_days(order, chosen, results, folder, executor, progress)
    best = best_of(results)
    same = next((one for one in whole if one.design == best.design), None)
    error = None if same is None else best.earned_eur - same.earned_eur
    drawn = write_figures(figures_of(results, best_of(whole or results), chosen), folder)
    output.write(
        {
            "site": chosen.site,
            "days": order.days,
            "typical_days": [
                {"date": f"{order.midnights[day].astimezone(chosen.zone):%Y-%m-%d}", "weight": few.weight(place)}
                for place, day in enumerate(few.days)
            ],
            **size_json(results),
            "by_all_days": size_json(whole) if whole else None,
            "error_eur_per_year": error,
        }
    )
    title = "By one typical day" if len(few.days) == 1 else f"By {len(few.days)} typical days"
    show(console, [size_table(results, title)], size_notes(results))
    if besides:
        names = ", ".join(design.name for design in besides)
        console.print(f"Assessed besides, to compare V2G with: {names}.", markup=False)
    if whole:
        title = "By the one day" if order.days == 1 else f"By all {order.days} days"
        show(console, [size_table(whole, title)], size_notes(whole))
        if same is not None and same.design != whole[0].design:
            console.print(error_note(best, same), markup=False)
    name_figures(output, drawn)


def _by_all_days(
    order: "YearOrder",
    site: "Site",
    results: "list[Assessed]",
    folder: Path,
    executor: "Executor",
    progress: "Progress",
) -> "list[Assessed]":
    from twinswarm.size.all_days import by_all_days, decisive, order_of_all_days
    from twinswarm.year.store import kept_store

    decided = decisive(results)
    all_days = order_of_all_days(order, site, decided)
    task = progress.add_task("all days", total=len(decided) * order.days)
    kept = stoppable("the same command goes on with all days from those that are kept")
    with kept_store(options.folder(folder / "all-days"), all_days) as store, kept:
        if store.replaced:
            what = "held days of other designs, site, time or program; they were deleted"
            progress.console.print(f"{store.path} {what}.", markup=False)
        return by_all_days(all_days, decided, store, executor, lambda count: progress.advance(task, count))
