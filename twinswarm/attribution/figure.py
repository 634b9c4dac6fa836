"""The attribution as a figure: two waterfalls, by device and by mechanism, to the same sum."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from services.analysis.figures import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, Picture
from services.analysis.figures.canvas import Panel, canvas
from services.analysis.summary import number
from twinswarm.attribution.attribute import Attribution
from twinswarm.attribution.mechanisms import ARBITRAGE, CURTAILMENT, LOSSES, PEAK, PV_USED, STORED
from twinswarm.attribution.tables import sentence, shown_mechanisms

_COLOURS = {
    PV_USED: ORANGE,
    ARBITRAGE: BLUE,
    CURTAILMENT: GREEN,
    STORED: SKY,
    LOSSES: GREY,
    PEAK: VERMILION,
}
_DEVICES = (BLUE, GREEN, VERMILION, ORANGE, PURPLE, SKY, GREY)
_BAR_IN = 0.36
_NAME_MOST = 18

Step = tuple[str, float, str]


def figure_of(found: Attribution) -> Picture:
    """By device above, by mechanism below; the whiskers are the interval of the sum without the demand charge."""
    devices = [
        (share.name, share.saved_eur, _DEVICES[place % len(_DEVICES)]) for place, share in enumerate(found.shares)
    ]
    mechanisms = [(name, found.total.by_mechanism[name], _COLOURS[name]) for name in shown_mechanisms(found)]
    panels = [Panel("", _BAR_IN * (len(steps) + 1), 0.55) for steps in (devices, mechanisms)]
    figure, (above, below) = canvas(panels, None)
    for axes, steps, title in ((above, devices, "by device"), (below, mechanisms, "by mechanism")):
        _waterfall(axes, steps, found)
        axes.set_title(title, loc="left", fontsize=9)
    _same_scale((above, below))
    above.tick_params(labelbottom=False)
    below.set_xlabel("saved against the baseline [€], the demand charge included")
    text = " ".join([sentence(found.total), *(sentence(share) for share in found.shares)])
    return Picture(f"{found.site.site}: who saved what", text, figure)


def _waterfall(axes: Axes, steps: Sequence[Step], found: Attribution) -> None:
    begin, names = 0.0, []
    for place, (name, value, colour) in enumerate(steps):
        axes.barh(place, value, 0.62, left=begin, color=colour, zorder=2)
        axes.plot([begin + value] * 2, [place - 0.31, place + 1.31], color=BLACK, linewidth=0.6, zorder=3)
        _say(axes, max(begin, begin + value), place, f"{number(value)} €")
        begin += value
        names.append(name)
    last = len(steps)
    axes.barh(last, begin, 0.62, color=BLACK, zorder=2)
    right = max(begin, 0.0)
    bounds = found.total.energy_interval
    if bounds is not None:
        peak = found.total.by_mechanism[PEAK]
        low, high = bounds.low_eur + peak, bounds.high_eur + peak
        axes.errorbar(
            [(low + high) / 2], [last], xerr=[(high - low) / 2], color=PURPLE, capsize=4, linewidth=1.8, zorder=4
        )
        right = max(right, high)
    _say(axes, right, last, f"{number(begin)} €")
    axes.set_yticks(range(last + 1), [_short(name) for name in (*names, "all")], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(0.0, color=BLACK, linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(8))


def _say(axes: Axes, at: float, place: int, text: str) -> None:
    axes.annotate(text, (at, place), (6, 0), textcoords="offset points", va="center", fontsize=8.5)


def _short(name: str) -> str:
    """On two lines; a long name is cut."""
    words = name.replace(" ", "\n", 1)
    return words if len(name) <= _NAME_MOST + 8 else name[:_NAME_MOST] + "…"


def _same_scale(both: Sequence[Axes]) -> None:
    """Room at the right for the numbers."""
    left = min(axes.get_xlim()[0] for axes in both)
    right = max(axes.get_xlim()[1] for axes in both)
    for axes in both:
        axes.set_xlim(left, right + 0.16 * (right - left))
