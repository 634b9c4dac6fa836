"""The numbers that stand beside the study's table, without which it is read wrongly; for terminal and report alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.site import Bess
from services.analysis.summary import number, percent
from twinswarm.simulation.variants import StorageChoice
from twinswarm.study.cloud import cloud_of
from twinswarm.study.facts import fitted_numbers, published_numbers
from twinswarm.study.periodic import MOST_DAYS, TOLERANCE_FRAC, Periodic, beats
from twinswarm.study.published import STORAGES, published
from twinswarm.study.result import Cell
from twinswarm.study.study import StudyResult
from twinswarm.study.tables import STORAGE_NAMES, case_name, change

CAR_WEAR_EUR_PER_KWH = 0.075
"""Price of a car battery's wear per kWh discharged to the grid, 0.075 US$ taken as €: W. Kempton and J. Tomić,
"Vehicle-to-grid power fundamentals: Calculating capacity and net revenue", J. Power Sources 144 (2005) 268-279, doi
10.1016/j.jpowsour.2004.12.025: price of the battery over the energy of its life."""
CAR_WEAR_SOURCE = "Kempton and Tomić 2005, doi 10.1016/j.jpowsour.2004.12.025"

CLOUDED_AND_CLEAR = (("1", "5"), ("2", "6"))
"""Cases that differ in nothing but the cloud."""


@dataclass(frozen=True)
class Listing:
    """A table without a form: the first ``texts`` columns are words, the rest numbers. A row whose first entry is empty
    continues the one above."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    texts: int = 2


def stored_and_periodic(result: StudyResult, periodic: Periodic) -> Listing:
    """Stored energy, peaks and the periodic day of every cell."""
    rows = []
    for first, cell in _with_first(result):
        found = periodic[cell.case, cell.storage]
        has_bess = bool(found.start_soc_frac)
        rows.append(
            (
                cell.case if first else "",
                STORAGE_NAMES[cell.storage],
                change(cell.change_eur_per_day),
                change(cell.bess_stored_kwh, 1) if has_bess else "",
                change(cell.cars_stored_kwh, 1),
                number(cell.reference_peak_kw, 1),
                number(cell.peak_kw, 1),
                number(cell.psf_all.psf, 3),
                change(found.change_eur_per_day) if found.converged else "none",
                ", ".join(percent(soc) for soc in found.start_soc_frac.values()) if has_bess else "",
            )
        )
    return Listing(
        "What the table leaves out: stored energy, peaks, and the periodic day",
        (
            "case",
            "storage",
            "here\n€/day",
            "stored in\nBESS kWh",
            "in cars\nkWh",
            "baseline's\npeak kW",
            "peak\nkW",
            "PSF (22), no\nthreshold",
            "periodic\nday €/day",
            "its SOC",
        ),
        tuple(rows),
        (
            "Stored: change over the day above the baseline's; energy that was bought and is not used. Peak: highest "
            "mean import of a quarter-hour. PSF (22): the mean ratio without leaving out quarter-hours of a small "
            "baseline; a single one near 0 kW can carry it.",
            f"Periodic day: the BESS ends with the SOC it began with, within {number(100 * TOLERANCE_FRAC, 1)} % "
            f"points, found by living the day again from the SOC it ended with, {MOST_DAYS} days at most. A day "
            "without a BESS is periodic as it is.",
            *_not_periodic(result, periodic),
        ),
    )


def _not_periodic(result: StudyResult, periodic: Periodic) -> list[str]:
    lines = []
    for cell in result.table.cells:
        found = periodic[cell.case, cell.storage]
        if not found.converged:
            begun = ", ".join(percent(soc) for soc in found.start_soc_frac.values())
            ended = ", ".join(percent(soc) for soc in found.end_soc_frac.values()) or "not known"
            lines.append(
                f"No periodic day for case {cell.case} with {STORAGE_NAMES[cell.storage]}: after {found.days} "
                f"{'day' if found.days == 1 else 'days'} it still begins at {begun} and ends at {ended}."
            )
    return lines


def ranking(result: StudyResult, periodic: Periodic) -> list[str]:
    """What the ranking of BESS and V2G rests on, in sentences."""
    cases = result.order.cases
    plain: dict[tuple[str, StorageChoice], float | None] = {
        (cell.case, cell.storage): cell.change_eur_per_day for cell in result.table.cells
    }
    lived = {key: found.change_eur_per_day for key, found in periodic.items()}
    stored = [cell.bess_stored_kwh for cell in result.table.cells if cell.storage is StorageChoice.BESS]
    if not stored or not any(isinstance(device, Bess) for device in result.order.site.devices.values()):
        return []
    (won, of), (won_lived, of_lived) = beats(plain, cases), beats(lived, cases)
    loses, loses_lived = _loses(plain), _loses(lived)
    least, most = number(min(stored), 1), number(max(stored), 1)
    lines = [
        f"In the table the BESS costs less than V2G in {won} of {of} cases, and more than no storage in {loses}; its "
        f"days leave {least if least == most else f'{least} to {most}'} kWh in the battery that they pay for. On the "
        f"periodic day it costs less than V2G in {won_lived} of {of_lived}, and more than no storage in {loses_lived}."
    ]
    if won_lived > won or loses_lived < loses:
        lines.append(
            "So the table's ranking and its plus signs rest on the SOC with which the BESS begins, far below the one "
            "that it is to end with: they are about the first day, not about what the storage is worth day by day."
        )
    return lines


def _loses(changes: Mapping[tuple[str, StorageChoice], float | None]) -> int:
    return sum(
        value is not None and value > 0 for (_, storage), value in changes.items() if storage is StorageChoice.BESS
    )


def wear_listing(result: StudyResult, price_eur_per_kwh: float) -> Listing | None:
    """The table with a price of the cars' wear; None where no car discharges."""
    rows = []
    before = ""
    for cell in result.table.cells:
        if cell.storage is StorageChoice.BESS or not cell.cars_discharged_kwh:
            continue
        even = cell.break_even_wear_eur_per_kwh
        rows.append(
            (
                case_name(cell.case) if cell.case != before else "",
                STORAGE_NAMES[cell.storage],
                number(cell.cars_discharged_kwh, 1),
                change(cell.published_eur_per_day),
                change(cell.change_eur_per_day),
                change(cell.with_car_wear(price_eur_per_kwh)),
                "none" if even is None else number(100 * even, 1),
            )
        )
        before = cell.case
    if not rows:
        return None
    source = f" ({CAR_WEAR_SOURCE}; 1 US$ taken as 1 €)" if price_eur_per_kwh == CAR_WEAR_EUR_PER_KWH else ""
    return Listing(
        f"With wear of the cars at {number(100 * price_eur_per_kwh, 1)} ct per kWh discharged [€/day]",
        (
            "case",
            "storage",
            "discharged\nkWh",
            "published,\nno wear",
            "here,\nno wear",
            "here,\nwith wear",
            "break-even\nct/kWh",
        ),
        tuple(rows),
        (
            f"Price: {number(price_eur_per_kwh, 3)} €/kWh at the charger{source}. The EMS does not know it and "
            "discharges as without; one that knew it would discharge less, and nothing where that does not pay. "
            "Break-even: the price at which the saving is gone. The BESS has no price of wear in either table.",
        ),
    )


def plain_words(result: StudyResult) -> list[tuple[str, str]]:
    """What was fitted to how many numbers, and what the cloud is: (heading, text)."""
    site = result.order.site
    count = fitted_numbers(site)
    fitted = (
        f"{count} numbers of the site were searched for the {published_numbers()} published ones. More numbers than "
        "data: that the table comes out shows that such a site can exist, and proves nothing about the real one."
        if count is not None
        else f"The list of searched numbers of this site is not kept; there are {published_numbers()} published ones."
    )
    found = [("Fit", fitted)]
    cloud = cloud_of(site)
    if cloud is not None:
        found.append(("Cloud", " ".join([cloud.sentence(), *cloud_effect(result)])))
    return found


def cloud_effect(result: StudyResult) -> list[str]:
    """What the cloud costs the savings, beside the published: clouded case minus clear one."""
    parts = []
    for storage in STORAGES:
        pairs = [_effect(result, storage, pair) for pair in CLOUDED_AND_CLEAR]
        known = [pair for pair in pairs if pair is not None]
        if known:
            here = "/".join(change(ours) for ours, _ in known)
            theirs = "/".join(change(other) for _, other in known)
            parts.append(f"{STORAGE_NAMES[storage]} {here} (published {theirs})")
    if not parts:
        return []
    return [f"It changes the cells by, in € (case 1 minus 5, 2 minus 6): {'; '.join(parts)}."]


def _effect(result: StudyResult, storage: StorageChoice, pair: tuple[str, str]) -> tuple[float, float] | None:
    cells = [result.table.cell(case, storage) for case in pair]
    if any(cell is None for cell in cells) or any(case not in published() for case in pair):
        return None
    clouded, clear = (cell.change_eur_per_day for cell in cells if cell is not None)
    theirs = [published()[case].change_eur_per_day[storage] for case in pair]
    return clouded - clear, theirs[0] - theirs[1]


def _with_first(result: StudyResult) -> list[tuple[bool, Cell]]:
    cells = result.table.cells
    return [(i == 0 or cells[i - 1].case != cell.case, cell) for i, cell in enumerate(cells)]


def to_json(result: StudyResult, periodic: Periodic, price_eur_per_kwh: float) -> dict[str, Any]:
    """The same numbers for ``--json``, at full precision."""
    cloud = cloud_of(result.order.site)
    return {
        "fitted_numbers": fitted_numbers(result.order.site),
        "published_numbers": published_numbers(),
        "cloud": None
        if cloud is None
        else {
            "cases": list(cloud.cases),
            "begins": cloud.begins[0],
            "minutes": cloud.minutes,
            "depths_frac": list(cloud.depths_frac),
            "lost_kwh": cloud.lost_kwh,
            "clear_day_kwh": cloud.day_kwh,
        },
        "periodic_day": {
            "tolerance_frac": TOLERANCE_FRAC,
            "most_days": MOST_DAYS,
            "cells": [
                {"case": cell.case, "storage": cell.storage.value} | periodic[cell.case, cell.storage].to_json()
                for cell in result.table.cells
            ],
        },
        "car_wear": {
            "price_eur_per_kwh": price_eur_per_kwh,
            "source_of_default": CAR_WEAR_SOURCE,
            "cells": [
                {
                    "case": cell.case,
                    "storage": cell.storage.value,
                    "change_eur_per_day": cell.with_car_wear(price_eur_per_kwh),
                }
                for cell in result.table.cells
            ],
        },
    }
