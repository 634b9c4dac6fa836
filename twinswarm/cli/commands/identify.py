"""``identify``: parameters of batteries and chargers re-estimated from a recorded run."""

from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from twinswarm.cli import options
from twinswarm.cli.commands.histories import checked
from twinswarm.cli.output import Output, busy

if TYPE_CHECKING:
    from rich.table import Table

    from services.shadow.identification.estimate import Identified


def identify(
    history: options.RecordedOption = options.HISTORY,
    run: options.RunOption = "latest",
    device: Annotated[
        str | None,
        typer.Option(
            "--device", metavar="ID", help="This one alone.", show_default="all batteries and chargers of the run"
        ),
    ] = None,
    json: options.JsonOption = None,
) -> None:
    """Estimate **efficiency, capacity, dead time, ramp and taper** of devices from their recorded energies and SOC.

    Measured beside described, with 95 % intervals. Nothing is changed: what you believe of it you write into the site.
    An interval is that of the noise; a constant error of the energy meter, 1 % in class 1, comes on top.

    Examples:
        twinswarm identify --history sqlite:live.sqlite
        twinswarm identify --history sqlite:live.sqlite --device bess --json measured.json
    """
    from twinswarm.extras import require

    require("numpy", "scipy")
    from services.shadow.identification import identify as identify_run
    from twinswarm.simulation.histories import open_history

    output = Output.to(json)
    with closing(open_history(checked(history))) as opened, busy(output.console, "estimating …"):
        found_run = opened.latest().run if run == "latest" else opened.info(run).run
        found = list(identify_run(opened, found_run, device))
    output.write({"run": found_run, "parameters": [asdict(each) for each in found]})
    if not found:
        output.console.print(f"run {found_run} shows too little of its batteries and chargers", markup=False)
        raise typer.Exit(1)
    output.console.print(_table(found))
    output.console.print("*: outside the interval, and more than 2 % away", markup=False)


def _table(found: "list[Identified]") -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for head in ("device", "parameter"):
        table.add_column(head, no_wrap=True)
    for head in ("described", "measured", "95 % interval"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("")
    for each in found:
        described = "" if each.described is None else f"{each.described:.4g}"
        table.add_row(
            each.device,
            each.parameter,
            described,
            f"{each.value:.4g}{' ' + each.unit if each.unit else ''}{' *' if each.differs else ''}",
            f"{each.low:.4g} … {each.high:.4g}",
            each.note,
        )
    return table
