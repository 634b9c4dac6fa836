"""A league as a table, a figure, and what has to be known to read them."""

from typing import TYPE_CHECKING

from services.analysis.summary import local, number
from twinswarm.league.result import League

if TYPE_CHECKING:
    from rich.table import Table

    from twinswarm.study.figures import Drawn

PERFECT = "perfect foresight"
NOTES = (
    "Score: energy and demand charge, kWh missed at 5 €, less what is left in store at the mean purchase price.",
    "Perfect foresight: a linear program over the whole time with everything known, without losses, ramps, least "
    "powers and limits of the network: no run can be below it.",
    "foresight: the product's EMS that knows load, PV and departures.",
)


def league_table(league: League) -> "Table":
    """A row for each contestant, perfect foresight first."""
    from rich.table import Table

    zone, course = league.site.location.time_zone, league.course
    title = f"{league.site.site}, {local(course.t0, zone)} to {local(course.t_end, zone)}"
    table = Table(title=title, title_style="bold", title_justify="left")
    table.add_column("", no_wrap=True)
    demand = any(score.demand_eur is not None for score in league.scores)
    heads = ["score\n€", "above\nperfect\n€", "energy\n€", *(["demand\n€"] if demand else []), "missed\nkWh"]
    heads += ["left in\nstore\nkWh", "highest\nimport\nkW", "periods\nabove\nlimit", "set-points\nchanged"]
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    table.add_row(PERFECT, number(league.perfect_eur), *[""] * (len(heads) - 1))
    for score in league.scores:
        table.add_row(
            score.name,
            number(score.score_eur),
            number(league.regret_eur(score)),
            number(score.energy_eur),
            *([number(score.demand_eur)] if demand else []),
            number(score.short_kwh, 1),
            number(score.left_kwh, 1),
            number(score.peak_kw, 1),
            str(score.above_limit),
            str(score.changes),
        )
    return table


def figure_of(league: League) -> "Drawn":
    """How far each contestant is above perfect foresight, by what it paid for."""
    from services.analysis.figures import BLACK, BLUE, GREY, VERMILION, Picture
    from services.analysis.figures.canvas import Panel, canvas
    from twinswarm.study.figures import Drawn

    rows = league.scores
    figure, (axes,) = canvas([Panel("", 0.5 * len(rows) + 0.6)], None)
    places = range(len(rows))
    missed = [score.short_eur for score in rows]
    rest = [league.regret_eur(score) - score.short_eur for score in rows]
    axes.barh(places, rest, 0.6, color=BLUE, label="energy, demand and stored energy", zorder=2)
    axes.barh(places, missed, 0.6, left=[max(0.0, value) for value in rest], color=VERMILION, label="missed", zorder=2)
    ends = [league.regret_eur(score) for score in rows]
    axes.scatter(ends, places, marker="D", s=22, facecolor="white", edgecolor=BLACK, zorder=3, label="score")
    axes.axvline(0.0, color=BLACK, linewidth=0.8)
    axes.set_yticks(places, [_short(score.name) for score in rows], fontsize=8)
    axes.invert_yaxis()
    axes.grid(axis="x", color=GREY, linewidth=0.3)
    drawn_to = max([1e-9, *ends, *(max(0.0, r) + m for r, m in zip(rest, missed, strict=True))])
    axes.set_xlim(min(0.0, *rest, *ends) - 0.02 * drawn_to, 1.75 * drawn_to)
    for place, (score, end) in enumerate(zip(rows, ends, strict=True)):
        text = f"+{number(end)} €, {number(score.short_kwh, 1)} kWh missed, highest {number(score.peak_kw, 1)} kW"
        at = max(end, max(0.0, rest[place]) + missed[place])
        axes.annotate(text, (at, place), (8, 0), textcoords="offset points", va="center", fontsize=9)
    axes.set_xlabel(f"above perfect foresight ({number(league.perfect_eur)} €) [€]")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=8, frameon=False)
    what = f"{league.site.site}: how far each EMS is above perfect foresight"
    text = " ".join(f"{score.name}: {number(league.regret_eur(score))} €." for score in rows)
    return Drawn("league", Picture(what, text, figure))


def _short(name: str) -> str:
    """A contestant's name for the figure's margin: of an algorithm in a file its own name."""
    return name.rpartition(":")[2][:14]
