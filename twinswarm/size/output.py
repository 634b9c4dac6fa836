"""The sizes of a site as a table and two figures."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes

from services.analysis.figures import BLUE, GREY, VERMILION, Picture
from services.analysis.figures.canvas import Panel, canvas, legend, zero
from services.analysis.summary import number
from twinswarm.size.sweep import (
    Assessed,
    best_of,
    best_with_v2g,
    pareto,
    v2g_break_even_eur,
    what_it_hangs_on,
    without_v2g,
)
from twinswarm.study.figures import Drawn

if TYPE_CHECKING:
    from rich.table import Table

    from schemas.site import Site

SHOWN = 15
_LINE_IN = 0.2


def size_table(found: Sequence[Assessed], title: str) -> "Table":
    """The designs of the highest net present value, and the base."""
    from rich.table import Table

    table = Table(title=title, title_style="bold", title_justify="left")
    table.add_column("")
    saved = "saved after\nupkeep\n€/year" if any(one.upkeep_eur for one in found) else "saved\n€/year"
    heads = ("investment\n€", "of it paid\n€", saved, "NPV\n€", "payback\nyears", "highest\nimport, kW")
    for head in (*heads, "PV\nkW", "connection\nkW", "missing at\nleaving\nkWh/year"):
        table.add_column(head, justify="right")
    best = sorted(found, key=lambda each: each.npv_eur, reverse=True)[:SHOWN]
    for one in best if found[0] in best else [*best, found[0]]:
        design = one.design
        table.add_row(
            design.name,
            *(number(value, 0) for value in (one.investment_eur, one.paid_eur, one.earned_eur, one.npv_eur)),
            _payback(one),
            number(one.yearly.peak_kw, 1, "" if one.fits else "!"),
            f"{design.pv_kw:g}",
            f"{design.connection_kw:g}",
            number(one.yearly.shortfall_kwh, 0),
        )
    return table


def _payback(one: Assessed) -> str:
    if not one.investment_eur:
        return ""
    return "never" if one.payback_years is None else number(one.payback_years, 1)


def size_json(found: Sequence[Assessed]) -> dict[str, Any]:
    """Every design, the best of them, and the prices at which V2G breaks even."""
    with_v2g = best_with_v2g(found)
    even, over_smart = (
        None if with_v2g is None else v2g_break_even_eur(found, with_v2g, smart=smart) for smart in (False, True)
    )
    return {
        "designs": [one.to_json() for one in found],
        "best": best_of(found).to_json(),
        "v2g_break_even_eur": even,
        "v2g_break_even_against_smart_eur": over_smart,
    }


def size_notes(found: Sequence[Assessed]) -> list[str]:
    """Which design is proposed, which ones cannot be, and at which price V2G breaks even."""
    best = best_of(found)
    above = connection_note(found)
    proposed = f"Highest NPV: {best.design.name}."
    return [*([] if above is None else [above]), proposed, *break_even_notes(found)]


def break_even_notes(found: Sequence[Assessed]) -> list[str]:
    """At which price a V2G charger pays, against one that charges at once and against a smart one."""
    best = best_with_v2g(found)
    if best is None:
        return []
    said, missing = [], False
    for kind, smart in (("ones that charge at once", False), ("smart ones", True)):
        even = v2g_break_even_eur(found, best, smart=smart)
        missing |= even is None
        name = without_v2g(best.design, smart=smart).name
        said.append(f"{'an unknown price' if even is None else number(even, 0, '€')} against {kind} ({name})")
    text = f"A V2G charger of the design {best.design.name} breaks even at {' and at '.join(said)}, before subsidies."
    return [f"{text} Unknown: economics has no smart_charger_eur." if missing else text]


def error_note(best: Assessed, same: Assessed) -> str:
    """How far the typical days are from all days for the design that they propose."""
    more_eur = best.earned_eur - same.earned_eur
    if abs(more_eur) < 0.5:
        return f"By typical days {best.design.name} saves as much as by all."
    how = "more" if more_eur > 0 else "less"
    return f"By typical days {best.design.name} saves {number(abs(more_eur), 0, '€/year')} {how} than by all."


def connection_note(found: Sequence[Assessed]) -> str | None:
    """Which designs import more than their connection carries; None: none does."""
    above = [one for one in found if not one.fits]
    if not above:
        return None
    base = found[0]
    highest = number(base.yearly.peak_kw, 1)
    text = f"! {len(above)} of {len(found)} designs import more than their connection carries; they are not proposed."
    if base.fits:
        return text
    return (
        f"{text} The base is one of them, with {highest} kW at {base.design.connection_kw:g} kW: "
        "it would need a larger connection, whose price is not in the savings."
    )


def figures_of(found: Sequence[Assessed], proposed: Assessed, site: "Site") -> list[Drawn]:
    """Investment against savings of all, and what the proposed design hangs on."""
    drawn = [Drawn("pareto", _pareto(found, best_of(found)))]
    if proposed.investment_eur:
        drawn.append(Drawn("tornado", _tornado(proposed, site)))
    return drawn


def _pareto(found: Sequence[Assessed], best: Assessed) -> Picture:
    front = pareto(found)
    panels = [Panel("saved after upkeep [€/year]", 3.6), Panel("", _LINE_IN * len(front), 0.6)]
    figure, (axes, key) = canvas(panels, None)
    for fits, name, faces in ((True, "designs", GREY), (False, "exceed their connection", "none")):
        shown = [one for one in found if one.fits is fits]
        if shown:
            axes.scatter(
                [one.paid_eur for one in shown],
                [one.earned_eur for one in shown],
                s=22,
                facecolors=faces,
                edgecolors=GREY,
                label=name,
                zorder=2,
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
    _number(axes, key, front)
    axes.set_xlabel("investment after subsidies [€]")
    zero(axes)
    legend(axes, 4)
    text = f"{len(found)} designs. Highest net present value: {best.design.name}, {number(best.npv_eur, 0)} €."
    return Picture("Investment and savings", text, figure)


def _number(axes: Axes, key: Axes, front: Sequence[Assessed]) -> None:
    """A number at each point, and below what it is."""
    for place, one in enumerate(front, 1):
        where = (one.paid_eur, one.earned_eur)
        axes.annotate(f"{place}", where, (0, 8), textcoords="offset points", ha="center", fontsize=8, zorder=5)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.05 * (high - low))
    key.set_axis_off()
    key.set_ylim(len(front), 0)
    for place, one in enumerate(front, 1):
        money = f"{number(one.paid_eur, 0)} €, {number(one.earned_eur, 0)} €/year, NPV {number(one.npv_eur, 0)} €"
        key.text(0.0, place - 0.5, f"{place}  {one.design.name}: {money}", fontsize=8, va="center")


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
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )
    axes.invert_yaxis()
    shown = [best.npv_eur, *(value for _, *both in spans for value in both)]
    width = (max(shown) - min(shown)) or 1.0
    axes.set_xlim(min(shown) - 0.45 * width, max(shown) + 0.05 * width)
    axes.axvline(best.npv_eur, color=GREY, linewidth=1.0)
    axes.grid(visible=False, axis="y")
    axes.annotate(
        f"{best.design.name}: {number(best.npv_eur, 0)} €",
        (best.npv_eur, 1.0),
        (0, 4),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="center",
        fontsize=9,
    )
    axes.set_xlabel("net present value [€]; blue: 20 % less of it, red: 20 % more")
    said = [f"{name}: {number(low, 0)} to {number(high, 0)} €." for name, low, high in spans]
    return Picture(f"What {best.design.name} hangs on", " ".join(said), figure)
