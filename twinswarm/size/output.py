"""The sizes of a site as a table and two figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.analysis.figures import BLUE, GREY, VERMILION, Picture
from services.analysis.figures.canvas import Panel, canvas, legend, zero
from services.analysis.summary import number
from twinswarm.size.sweep import Assessed, best_of, pareto, what_it_hangs_on
from twinswarm.study.figures import Drawn

if TYPE_CHECKING:
    from rich.table import Table

    from schemas.site import Site

SHOWN = 15


def size_table(found: Sequence[Assessed]) -> "Table":
    """The designs of the highest net present value, and the base."""
    from rich.table import Table

    table = Table(title="Designs by net present value", title_style="bold", title_justify="left")
    table.add_column("")
    heads = ("investment\n€", "of it paid\n€", "saved\n€/year", "NPV\n€", "payback\nyears", "highest\nimport, kW")
    for head in (*heads, "PV\nkW", "connection\nkW", "missing at\nleaving\nkWh/year"):
        table.add_column(head, justify="right")
    best = sorted(found, key=lambda each: each.npv_eur, reverse=True)[:SHOWN]
    for one in best if found[0] in best else [*best, found[0]]:
        design, back = one.design, one.payback_years
        table.add_row(
            design.name,
            *(number(value, 0) for value in (one.investment_eur, one.paid_eur, one.earned_eur, one.npv_eur)),
            "never" if back is None else number(back, 1),
            number(one.yearly.peak_kw, 1),
            f"{design.pv_kw:g}",
            f"{design.connection_kw:g}",
            number(one.yearly.shortfall_kwh, 0),
        )
    return table


def figures_of(found: Sequence[Assessed], site: "Site") -> list[Drawn]:
    """Investment against savings, and what the best design hangs on."""
    best = best_of(found)
    drawn = [Drawn("pareto", _pareto(found, best))]
    if best.investment_eur:
        drawn.append(Drawn("tornado", _tornado(best, site)))
    return drawn


def _pareto(found: Sequence[Assessed], best: Assessed) -> Picture:
    figure, (axes,) = canvas([Panel("saved after upkeep [€/year]", 3.6)], None)
    front = pareto(found)
    axes.scatter(
        [o.paid_eur for o in found], [o.earned_eur for o in found], s=22, color=GREY, label="designs", zorder=2
    )
    axes.plot(
        [o.paid_eur for o in front],
        [o.earned_eur for o in front],
        "o-",
        color=BLUE,
        label="no other is better",
        zorder=3,
    )
    axes.scatter([best.paid_eur], [best.earned_eur], marker="*", s=160, color=VERMILION, label="highest NPV", zorder=4)
    axes.annotate(best.design.name, (best.paid_eur, best.earned_eur), (8, -12), textcoords="offset points", fontsize=9)
    axes.set_xlabel("investment after subsidies [€]")
    zero(axes)
    legend(axes, 3)
    text = f"{len(found)} designs. Highest net present value: {best.design.name}, {number(best.npv_eur, 0)} €."
    return Picture("Investment and savings", text, figure)


def _tornado(best: Assessed, site: "Site") -> Picture:
    spans = what_it_hangs_on(best, site)
    figure, (axes,) = canvas([Panel("", 0.34 * max(len(spans), 2), 0.3)], None)
    for place, (_, low, high) in enumerate(spans):
        axes.barh(place, low - best.npv_eur, left=best.npv_eur, height=0.6, color=BLUE, zorder=2)
        axes.barh(place, high - best.npv_eur, left=best.npv_eur, height=0.6, color=VERMILION, zorder=2)
    axes.set_yticks(range(len(spans)), ["" for _ in spans])
    for place, (name, _, _) in enumerate(spans):
        axes.annotate(
            name,
            (0.0, place),
            (4, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.invert_yaxis()
    shown = [best.npv_eur, *(value for _, *both in spans for value in both)]
    width = (max(shown) - min(shown)) or 1.0
    axes.set_xlim(min(shown) - 0.45 * width, max(shown) + 0.05 * width)
    axes.axvline(best.npv_eur, color=GREY, linewidth=1.0)
    axes.set_xlabel("net present value [€]; blue: 20 % less of it, red: 20 % more")
    said = [f"{name}: {number(low, 0)} to {number(high, 0)} €." for name, low, high in spans]
    return Picture(f"What {best.design.name} hangs on", " ".join(said), figure)
