"""The result in a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from schemas.capabilities import LASTING_STORES
from services.analysis.run_result import RunResult
from services.analysis.summary import UNKNOWN, blocks, doubtful_number, duration, local, number, percent
from services.history.doubts import DoubtfulValue

if TYPE_CHECKING:
    from rich.table import Table


def summary_table(result: RunResult) -> "Table":
    """Cost, savings, PSF, energy and messages of a run; legible from 80 columns on."""
    from rich.table import Table
    from rich.text import Text

    until = local(result.end, result.time_zone)
    begin = local(result.start, result.time_zone)
    cut = "" if result.complete else ", not carried to its end"
    title = f"{result.site}, {begin} to {until}{cut}"
    table = Table(title=title, title_style="bold", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column(style="dim")
    for block in blocks(result):
        for line in block.lines:
            table.add_row(line.label, line.value, Text(line.note))
        table.add_section()
    return table


def device_table(result: RunResult) -> "Table":
    """Energies, extremes and SOC of each device."""
    from rich.table import Table

    table = Table(title="Devices", title_style="bold", title_justify="left")
    table.add_column("device")
    table.add_column("kind")
    for head in ("import\nkWh", "export\nkWh", "highest\nkW", "lowest\nkW", "SOC\nat start", "SOC\nat end"):
        table.add_column(head, justify="right", no_wrap=True)
    for device in result.devices:
        table.add_row(
            device.device,
            device.kind,
            number(device.import_kwh, 1),
            number(device.export_kwh, 1),
            number(device.highest_kw, 1),
            number(device.lowest_kw, 1),
            percent(device.soc_start_frac) if device.group in LASTING_STORES else UNKNOWN,
            percent(device.soc_end_frac) if device.group in LASTING_STORES else UNKNOWN,
        )
    return table


def disturbance_table(result: RunResult) -> "Table | None":
    """Why the energy balance may not close; None when nothing disturbed it."""
    from rich.table import Table
    from rich.text import Text

    if not result.energy_causes:
        return None
    table = Table(title="Disturbances of the energy balance", title_style="bold", title_justify="left")
    table.add_column("what")
    table.add_column("for", justify="right", no_wrap=True)
    for cause, length in result.energy_causes:
        table.add_row(Text(cause), duration(length))
    return table


def doubts_table(doubts: Sequence[DoubtfulValue], time_zone: str) -> "Table | None":
    """Values that were recorded and not settled with; None when there are none. 80 columns wide."""
    from rich.table import Table
    from rich.text import Text

    if not doubts:
        return None
    table = Table(
        title="Doubtful values, recorded and not settled with",
        title_style="bold",
        title_justify="left",
        caption="Farthest out: of a register the step, else the value. See docs/plausibility.md.",
        caption_justify="left",
        width=80,
    )
    table.add_column("device, field", overflow="fold")
    table.add_column("farthest out", justify="right")
    table.add_column("plausible; used instead")
    table.add_column("from, until, count")
    for doubt in doubts:
        table.add_row(
            Text(f"{doubt.device}\n{doubt.field} {doubt.reason}"),
            doubtful_number(doubt),
            Text(f"{doubt.bound}; {doubt.instead}"),
            f"{local(doubt.first, time_zone)}\n{local(doubt.last, time_zone)}\n{doubt.count}",
        )
    return table
