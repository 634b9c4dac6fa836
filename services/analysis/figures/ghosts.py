"""Ghosts over time: power at the PCC without and with them, and what they have earned so far."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from schemas.messages import Earnings
from services.analysis.figures.canvas import BLACK, BLUE, GREEN, Panel, Picture, canvas

_DAY_S = 86_400
"""matplotlib counts days since 1970."""


def ghosts_figure(accounts: Sequence[Earnings], site: str, zone: ZoneInfo) -> Picture:
    """``accounts``: one for each settlement step."""
    figure, (power, money) = canvas([Panel("power at the PCC [kW]", 2.6, 0.5), Panel("earned [€]", 1.8, 0.2)], None)
    begins = [(each.until.timestamp() - each.interval_s) / _DAY_S for each in accounts]
    ends = [each.until.timestamp() / _DAY_S for each in accounts]
    edges, last = [*begins, ends[-1]], accounts[-1]
    real = [each.real_kw for each in accounts]
    ghosts = [each.ghosts_kw for each in accounts]
    power.step(edges, [*real, real[-1]], where="post", color=BLACK, linewidth=1.0, label="real")
    power.step(edges, [*ghosts, ghosts[-1]], where="post", color=BLUE, linewidth=1.0, label="with ghosts")
    power.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9)
    money.plot(ends, [each.total.earned_eur for each in accounts], color=GREEN)
    for axes in (power, money):
        axes.set_xlim(edges[0], edges[-1])
        axes.xaxis_date(str(zone))
        axes.tick_params(axis="x", labelrotation=20, labelbottom=axes is money)
    text = (
        f"Highest import {last.total.real.peak_kw:.1f} kW as it was and {last.total.ghosts.peak_kw:.1f} kW with the "
        f"ghosts, which would have earned {last.total.earned_eur:.2f} €."
    )
    return Picture(f"{site}: {', '.join(last.devices)}, which do not exist", text, figure)
