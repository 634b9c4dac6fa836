"""Ghosts over time: power at the PCC without and with them, and what they have earned so far."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from schemas.messages import Earnings
from services.analysis.figures.canvas import BLACK, BLUE, GREEN, Panel, Picture, canvas

_DAY_S = 86_400
"""matplotlib counts days since 1970."""


def ghosts_figure(runs: Sequence[Sequence[Earnings]], site: str, zone: ZoneInfo) -> Picture:
    """``runs``: of each run one account for each settlement step; between them nothing is drawn."""
    figure, (power, money) = canvas([Panel("power at the PCC [kW]", 2.6, 0.5), Panel("earned [€]", 1.8, 0.2)], None)
    earned_eur = 0.0
    for n, accounts in enumerate(runs):
        ends = [each.until.timestamp() / _DAY_S for each in accounts]
        edges = [(each.until.timestamp() - each.interval_s) / _DAY_S for each in accounts] + ends[-1:]
        for label, color, values in (
            ("real", BLACK, [each.real_kw for each in accounts]),
            ("with ghosts", BLUE, [each.ghosts_kw for each in accounts]),
        ):
            name = label if n == 0 else None
            power.step(edges, [*values, values[-1]], where="post", color=color, linewidth=1.0, label=name)
        money.plot(ends, [earned_eur + each.total.earned_eur for each in accounts], color=GREEN)
        earned_eur += accounts[-1].total.earned_eur
    power.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9)
    first, last = runs[0][0], runs[-1][-1]
    for axes in (power, money):
        axes.set_xlim((first.until.timestamp() - first.interval_s) / _DAY_S, last.until.timestamp() / _DAY_S)
        axes.xaxis_date(str(zone))
        axes.tick_params(axis="x", labelrotation=20, labelbottom=axes is money)
    real_kw, ghosts_kw = (max(getattr(run[-1].total, side).peak_kw for run in runs) for side in ("real", "ghosts"))
    text = (
        f"Highest import {real_kw:.1f} kW as it was and {ghosts_kw:.1f} kW with the "
        f"ghosts, which would have earned {earned_eur:.2f} €."
    )
    return Picture(f"{site}: {', '.join(last.devices)}, which do not exist", text, figure)
