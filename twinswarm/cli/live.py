"""Shows a run while it goes: a panel in a terminal, a line now and then where there is none."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from schemas.messages import Phase
from schemas.participant import Received
from services.monitor.progress import View
from twinswarm.cli.output import on_terminal

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from broker.address import BrokerAddress

_FRAMES_PER_S = 8
_PANEL_MOST = 110
"""Columns; a longer bar says no more."""
_ECHO = 3
"""Columns left free: the terminal's echo of Ctrl-C must not wrap, or the panel would be erased a line too low."""
_PLAIN_LINES = 12
"""Lines that report the progress of a run where there is no terminal."""
_SOC_CELLS = 8
_UNKNOWN = "\N{EN DASH}"
_FULL, _EMPTY = "\N{BLACK SQUARE}", "\N{WHITE SQUARE}"


class Show:
    """Feeds a view and shows it. Its methods are what the conductors of runs call back."""

    def __init__(self, view: View, console: "Console", title: str) -> None:
        self.view = view
        self._console, self._title = console, title
        self._live = on_terminal(console)
        self._told = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """While this lasts the run is shown."""
        if not self._live:
            self._console.print(self._title, soft_wrap=True)
            yield
            return
        from rich.live import Live

        with Live(
            console=self._console,
            get_renderable=lambda: panel(self.view, self._title, min(self._console.width - _ECHO, _PANEL_MOST)),
            refresh_per_second=_FRAMES_PER_S,
            transient=True,
        ):
            yield

    def on_message(self, received: Received) -> None:
        self.view.on_message(received)
        self._tell()

    def on_phase(self, n: int, phase: Phase, t: datetime) -> None:
        self.view.on_phase(n, phase, t)
        self._tell()

    def on_news(self, text: str) -> None:
        self.view.on_news(text)
        self._console.print(text, style="yellow", markup=False, soft_wrap=True)

    def on_broker(self, address: "BrokerAddress") -> None:
        text = f"Broker   {address}; `twinswarm devices` and the other commands find it"
        self._console.print(text, markup=False, soft_wrap=True)

    def _tell(self) -> None:
        if self._live:
            return
        part = int(self.view.measured_fraction * _PLAIN_LINES)
        if part > self._told:
            self._told = part
            self._console.print(line(self.view), markup=False, soft_wrap=True)


def line(view: View) -> str:
    """What is known, in one line of plain text."""
    socs = ", ".join(f"{name} {soc:.0%}" for name, soc in view.soc_frac.items() if soc is not None)
    return (
        f"{_local(view)}  {view.fraction:4.0%}  PCC {_kw(view.pcc_kw)}  cost so far {_eur(view.cost_eur)}"
        f"  SOC {socs or _UNKNOWN}"
    )


def panel(view: View, title: str, width: int) -> "RenderableType":
    """What is known, as a panel so many columns wide; legible from 60 on."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    head = Table.grid(padding=(0, 2), expand=True)
    head.add_column(no_wrap=True)
    head.add_column(ratio=1)
    head.add_column(justify="right", no_wrap=True)
    bar = ProgressBar(total=1.0, completed=view.fraction, complete_style="cyan", finished_style="green")
    head.add_row(Text(_local(view), style="bold"), bar, f"{view.fraction:.0%}")
    figures = Table.grid(padding=(0, 2), expand=True)
    for _ in range(4):
        figures.add_column(ratio=1)
    figures.add_row("PCC", "cost so far", "network losses", "messages recorded", style="dim")
    figures.add_row(
        f"{_kw(view.pcc_kw)}{_direction(view.pcc_kw)}",
        _eur(view.cost_eur),
        _kw(view.losses_kw),
        _UNKNOWN if view.recorded is None else f"{view.recorded:,}".replace(",", "\N{NARROW NO-BREAK SPACE}"),
    )
    parts: list[RenderableType] = [head, Text(), figures]
    if view.soc_frac:
        parts += [Text(), _socs(view)]
    parts += [Text(), Text(_status(view), style="dim", overflow="ellipsis", no_wrap=True)]
    return Panel(Group(*parts), title=Text(title, style="bold"), title_align="left", padding=(0, 1), width=width)


def _socs(view: View) -> "RenderableType":
    from rich.columns import Columns
    from rich.text import Text

    width = max(len(name) for name in view.soc_frac)
    return Columns(
        [
            Text.assemble(
                (f"{name:<{width}} ", "dim"),
                (_FULL * _cells(soc), "green"),
                (_EMPTY * (_SOC_CELLS - _cells(soc)), "dim"),
                f" {'away' if soc is None else f'{soc:.0%}':>4}",
            )
            for name, soc in view.soc_frac.items()
        ],
        padding=(0, 3),
    )


def _cells(soc: float | None) -> int:
    return 0 if soc is None else round(soc * _SOC_CELLS)


def _status(view: View) -> str:
    if view.finished:
        return "The run has ended. Computing its baseline, then comparing the two …"
    if view.plan is None:
        return "Waiting for the first plan …"
    alarms = f"; {view.alarms} alarms" if view.alarms else ""
    ahead = f"{view.plan.objective_eur:.2f} € ahead"
    return f"EMS: plan {view.plan.status}, {ahead}, {len(view.plan.shortfalls)} shortfalls{alarms}"


def _local(view: View) -> str:
    return f"{view.time.astimezone(view.site.zone):%Y-%m-%d %H:%M}"


def _kw(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.1f} kW".replace("-", "\N{MINUS SIGN}")


def _eur(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.2f} €".replace("-", "\N{MINUS SIGN}")


def _direction(pcc_kw: float | None) -> str:
    if not pcc_kw:
        return ""
    return " import" if pcc_kw > 0 else " export"
