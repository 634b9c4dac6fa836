"""The study's figures, as the paper numbers them: 3 PV and load, 4 prices, 5 a case's profiles, 6 costs.

Colours are those of `services.analysis.figures` and mean the same here.
"""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from schemas.errors import Code, InputError
from schemas.messages import MeterRole
from schemas.site import Meter, PowerProfile, Pv, Site
from services.analysis.figures import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, Picture
from services.analysis.summary import number
from twinswarm.simulation.variants import StorageChoice
from twinswarm.study.day import Day
from twinswarm.study.orders import ALL_STORAGES, Key
from twinswarm.study.published import PSF_CASE, STORAGES, published
from twinswarm.study.sensitivity import Sensitivity
from twinswarm.study.study import StudyResult
from twinswarm.study.tables import STORAGE_NAMES

COLOURS = {
    StorageChoice.NONE: BLACK,
    StorageChoice.BESS: BLUE,
    StorageChoice.V2G: GREEN,
    StorageChoice.BOTH: VERMILION,
}
STYLES = {
    StorageChoice.NONE: "--",
    StorageChoice.BESS: "-.",
    StorageChoice.V2G: "-",
    StorageChoice.BOTH: "-",
}
MARKERS = {StorageChoice.BESS: "o", StorageChoice.V2G: "s", StorageChoice.BOTH: "^"}
_WIDTH = 9.0


@dataclass(frozen=True)
class Drawn:
    """A picture and the name of its files."""

    file: str
    picture: Picture


def figures(result: StudyResult) -> list[Drawn]:
    return [
        Drawn("figure_3_pv_and_load", _pv_and_load(result)),
        Drawn("figure_4_prices", _prices(result)),
        Drawn("figure_5_profiles", _profiles(result)),
        Drawn("figure_6_costs", _costs(result)),
    ]


def sensitivity_figures(found: Sequence[Sensitivity]) -> list[Drawn]:
    return [Drawn(f"sensitivity_{one.sweep.name}", _sensitivity(one)) for one in found]


def write_figures(drawn: Sequence[Drawn], folder: Path) -> list[Path]:
    """Each as PNG and SVG. Raises InputError naming the file that cannot be written."""
    files = []
    for one in drawn:
        svg = base64.b64decode(one.picture.svg_uri().partition(",")[2])
        for suffix, content in (("png", one.picture.png()), ("svg", svg)):
            file = folder / f"{one.file}.{suffix}"
            try:
                file.write_bytes(content)
            except OSError as error:
                raise InputError.one(str(file), f"cannot be written: {error.strerror}", code=Code.UNWRITABLE) from None
            files.append(file)
    return files


def _figure(heights: Sequence[float]) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(_WIDTH, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(len(heights), 1, squeeze=False, gridspec_kw={"height_ratios": list(heights)})
    axes = [row[0] for row in rows]
    for one in axes:
        one.grid(visible=True, color="#DDDDDD", linewidth=0.6)
        one.set_axisbelow(True)
        for side in ("top", "right"):
            one.spines[side].set_visible(False)
    return figure, axes


def _legend(axes: Axes, columns: int) -> None:
    axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, frameon=False, fontsize=9)


def _clock(axes: Axes, day: Day, zone: str, *, label: bool = True) -> None:
    """Hours since the day began, labelled by the local clock."""
    length = len(day.times) / 4
    ticks = list(range(0, int(length) + 1, 2))
    start = day.times[0]
    labels = [f"{start.astimezone(ZoneInfo(zone)).hour + hour:02d}:00" for hour in ticks]
    axes.set_xticks(ticks, labels if label else [""] * len(ticks))
    axes.set_xlim(0, length)
    if label:
        axes.set_xlabel("local time")


def _stairs(axes: Axes, values: Sequence[float], label: str, colour: str, style: str = "-", width: float = 1.6) -> None:
    edges = [place / 4 for place in range(len(values) + 1)]
    axes.stairs(values, edges, baseline=None, label=label, color=colour, linestyle=style, linewidth=width)


def _first(result: StudyResult, *, cloud: bool) -> Day | None:
    """The reference of the first case with, or without, a cloud."""
    for case in result.order.cases:
        if (case in published() and published()[case].cloud) == cloud:
            return result.days[Key(case, StorageChoice.NONE)]
    return None


def _expected_load(site: Site) -> tuple[float, ...] | None:
    for device in site.devices.values():
        if isinstance(device, Meter) and device.role is MeterRole.LOAD and device.forecast_profile is not None:
            return tuple(site.profiles[device.forecast_profile].values)
    return None


def _expected_pv(site: Site) -> tuple[float, ...] | None:
    for device in site.devices.values():
        if isinstance(device, Pv) and isinstance(device.forecast, PowerProfile):
            return tuple(site.profiles[device.forecast.profile].values)
    return None


def _pv_and_load(result: StudyResult) -> Picture:
    site = result.order.site
    clouded, clear = _first(result, cloud=True), _first(result, cloud=False)
    day = clear or clouded
    assert day is not None
    figure, (axes,) = _figure([3.8])
    expected = _expected_load(site)
    if expected is not None and len(expected) == len(day.times):
        _stairs(axes, expected, "load, forecast", ORANGE, "--")
    _stairs(axes, day.load_kw, "load, measured", VERMILION)
    sun = _expected_pv(site)
    if sun is not None and len(sun) == len(day.times):
        _stairs(axes, sun, "PV, forecast", SKY, "-", 3.2)
    if clear is not None:
        _stairs(axes, clear.pv_kw, "PV, clear", BLUE, "--", 1.2)
    if clouded is not None:
        _stairs(axes, clouded.pv_kw, "PV with the cloud", BLACK, ":", 1.6)
    axes.set_ylabel("mean power [kW]")
    axes.set_ylim(bottom=0)
    _clock(axes, day, site.location.time_zone)
    _legend(axes, 5)
    energy = math.fsum(day.load_kw) / 4
    return Picture(
        "Figure 3. PV and load",
        f"Load and PV of the site, fitted, as forecast and as measured by quarter-hours. The load takes "
        f"{number(energy, 0)} kWh a day, the PV gives {number(math.fsum(day.pv_kw) / 4, 0)} kWh.",
        figure,
    )


def _prices(result: StudyResult) -> Picture:
    site = result.order.site
    figure, (axes,) = _figure([3.4])
    colours = iter((BLUE, PURPLE, ORANGE, GREEN))
    drawn: set[str] = set()
    spreads: dict[str, list[float]] = {}
    days: dict[str, Day] = {}
    for case in result.order.cases:
        profile = site.cases[case].tariff.sale
        if profile is None:
            continue  # A built price is drawn by `twinswarm prices`.
        days.setdefault(profile, result.days[Key(case, StorageChoice.NONE)])
        spread = site.cases[case].tariff.spread_eur_per_kwh
        if spread is not None:
            spreads.setdefault(profile, []).append(spread)
    for profile, day in days.items():
        colour = next(colours, GREY)
        name = profile.removeprefix("price_").replace("_", " ")
        _stairs(axes, day.sale_eur_per_kwh, f"{name}: sale", colour, "-", 2.0)
        for spread, style in zip(sorted(set(spreads.get(profile, []))), ("--", ":", "-."), strict=False):
            purchase = [price + spread for price in day.sale_eur_per_kwh]
            _stairs(axes, purchase, f"{name}: purchase, +{spread:.2f}", colour, style, 1.2)
        drawn.add(profile)
    axes.set_ylabel("price [€/kWh]")
    axes.set_ylim(bottom=0)
    _clock(axes, next(iter(days.values())), site.location.time_zone)
    _legend(axes, 3)
    return Picture(
        "Figure 4. Prices",
        "Sale prices of the cases, and the purchase prices that each spread makes of them. The shapes are named in the "
        "study, the numbers are fitted.",
        figure,
    )


def _profiles(result: StudyResult) -> Picture:
    case = PSF_CASE if PSF_CASE in result.order.cases else result.order.cases[0]
    zone = result.order.site.location.time_zone
    figure, (pcc, stores, soc) = _figure([3.1, 2.5, 2.2])
    days = {storage: result.days[Key(case, storage)] for storage in ALL_STORAGES}
    for storage, day in days.items():
        _stairs(pcc, day.pcc_kw, STORAGE_NAMES[storage], COLOURS[storage], STYLES[storage])
    pcc.axhline(0.0, color=BLACK, linewidth=0.8)
    pcc.set_ylabel("PCC [kW]")
    _legend(pcc, 4)
    both = days[StorageChoice.BOTH]
    _stairs(stores, both.cars_kw, "cars, V2G and BESS", GREEN)
    _stairs(stores, both.bess_kw, "BESS, V2G and BESS", BLUE)
    _stairs(stores, days[StorageChoice.NONE].cars_kw, "cars, reference", GREY, "--")
    stores.axhline(0.0, color=BLACK, linewidth=0.8)
    stores.set_ylabel("charging [kW]")
    _legend(stores, 3)
    hours = [place / 4 for place in range(len(both.times) + 1)]
    for values, label, colour in ((both.cars_soc_frac, "cars (mean)", GREEN), (both.bess_soc_frac, "BESS", BLUE)):
        percents = [float("nan") if value is None else 100 * value for value in values]
        soc.plot(hours, percents, label=f"{label}, V2G and BESS", color=colour, linewidth=1.6)
    soc.set_ylabel("SOC [%]")
    soc.set_ylim(0, 100)
    _legend(soc, 2)
    for axes in (pcc, stores):
        _clock(axes, both, zone, label=False)
    _clock(soc, both, zone)
    peaks = ", ".join(f"{STORAGE_NAMES[storage]} {number(max(day.pcc_kw), 0)} kW" for storage, day in days.items())
    return Picture(
        f"Figure 5. Profiles of case {case}",
        f"Mean power at the PCC by quarter-hours (positive on import), what cars and BESS take of it, and their SOC. "
        f"Highest import: {peaks}.",
        figure,
    )


def _costs(result: StudyResult) -> Picture:
    figure, (costs, changes) = _figure([3.2, 3.2])
    cases = result.order.cases
    width = 0.2
    for place, storage in enumerate(ALL_STORAGES):
        at = [index + (place - 1.5) * width for index in range(len(cases))]
        values = [result.days[Key(case, storage)].cost_eur for case in cases]
        costs.bar(
            at, values, width * 0.92, label=STORAGE_NAMES[storage], color=_fill(storage), edgecolor=BLACK, linewidth=0.5
        )
    costs.set_ylabel("cost of the day [€]")
    _legend(costs, 4)
    for place, storage in enumerate(STORAGES):
        at = [index + (place - 1) * width for index in range(len(cases))]
        cells = [result.table.cell(case, storage) for case in cases]
        ours = [float("nan") if cell is None else cell.change_eur_per_day for cell in cells]
        told = [
            float("nan") if cell is None or cell.published_eur_per_day is None else cell.published_eur_per_day
            for cell in cells
        ]
        changes.bar(
            at,
            ours,
            width * 0.92,
            label=f"{STORAGE_NAMES[storage]}, here",
            color=_fill(storage),
            edgecolor=BLACK,
            linewidth=0.5,
        )
        changes.plot(
            at,
            told,
            linestyle="none",
            marker="D",
            markersize=6,
            color="white",
            markeredgecolor=BLACK,
            label="published" if place == 2 else None,
        )
    changes.axhline(0.0, color=BLACK, linewidth=0.8)
    changes.set_ylabel("change against\nthe reference [€/day]")
    _legend(changes, 4)
    for axes in (costs, changes):
        axes.set_xticks(range(len(cases)), [_case_label(case) for case in cases], fontsize=8)
        axes.grid(visible=False, axis="x")
    rmse = result.table.rmse_eur_per_day
    return Picture(
        "Figure 6. Costs by case and storage",
        f"Cost of the day at the PCC meter, losses included; below, its change against the reference "
        f"({result.order.reference.value}), negative is money saved, beside the published change. "
        f"RMSE {number(rmse, 3)} €/day, {result.table.signs_matched} of {result.table.signs} signs.",
        figure,
    )


def _fill(storage: StorageChoice) -> str:
    return GREY if storage is StorageChoice.NONE else COLOURS[storage]


def _case_label(case: str) -> str:
    known = published().get(case)
    if known is None:
        return case
    return f"{case}\n{known.price}, {'cloud' if known.cloud else 'clear'}\n+{known.spread_eur_per_kwh:.2f} €/kWh"


def _sensitivity(found: Sensitivity) -> Picture:
    sweep = found.sweep
    figure, (money, factor) = _figure([3.0, 2.4])
    for storage in STORAGES:
        cells = found.cells(storage)
        style: dict[str, Any] = {
            "color": COLOURS[storage],
            "marker": MARKERS[storage],
            "linestyle": STYLES[storage],
            "markersize": 5,
        }
        money.plot(sweep.values, [cell.change_eur_per_day for cell in cells], label=STORAGE_NAMES[storage], **style)
        factors = [float("nan") if cell.psf_2kw.psf is None else cell.psf_2kw.psf for cell in cells]
        factor.plot(sweep.values, factors, label=STORAGE_NAMES[storage], **style)
    money.axhline(0.0, color=BLACK, linewidth=0.8)
    money.set_ylabel("change against\nthe reference [€/day]")
    factor.set_ylabel("peak-shaving\nfactor")
    factor.axhline(1.0, color=BLACK, linewidth=0.8)
    _legend(money, 3)
    for axes in (money, factor):
        axes.set_xticks(sweep.values)
    factor.set_xlabel(sweep.axis)
    return Picture(
        f"{sweep.title}, case {sweep.case}",
        f"Change of the daily cost (negative is money saved) and peak-shaving factor (references "
        f"above 2 kW: with 0.5 kW single quarters decide) over the {sweep.axis}. "
        f"{sweep.note} Each value has a reference of its own.",
        figure,
    )
