"""The study's table in a terminal, and what is to be said with it."""

from typing import TYPE_CHECKING

from services.analysis.summary import REFERENCES, number
from twinswarm.study.facts import FITTED, NOT_KNOWN, PUBLISHED
from twinswarm.study.published import DOI, published
from twinswarm.study.robustness import Robustness
from twinswarm.study.study import StudyResult
from twinswarm.study.variations import has_other_loads

if TYPE_CHECKING:
    from rich.table import Table

    from twinswarm.study.beside import Listing

STORAGE_NAMES = {"none": "reference", "bess": "BESS", "v2g": "V2G", "both": "V2G and BESS"}


def change(value: float | None, digits: int = 2) -> str:
    """With its sign, a plus where money is lost; a dash when it is not known."""
    text = number(value, digits)
    return f"+{text}" if value is not None and round(value, digits) > 0 else text


def table_ii(result: StudyResult) -> "Table":
    """Published and ours, case by case; legible from 80 columns on."""
    from rich.table import Table

    table = Table(
        title="Change of the daily cost against the reference [€/day]; negative is money saved",
        title_style="bold",
        title_justify="left",
    )
    for head in ("case", "storage"):
        table.add_column(head)
    for head in ("published", "here", "difference", "PSF", "PSF > 2 kW", "published\nPSF"):
        table.add_column(head, justify="right", no_wrap=True)
    for case in result.order.cases:
        for place, cell in enumerate(cell for cell in result.table.cells if cell.case == case):
            wrong = cell.sign_matches is False
            table.add_row(
                case_name(case) if place == 0 else "",
                STORAGE_NAMES[cell.storage],
                change(cell.published_eur_per_day),
                f"[bold red]{change(cell.change_eur_per_day)}[/]" if wrong else change(cell.change_eur_per_day),
                change(cell.difference_eur_per_day),
                number(cell.psf.psf, 3),
                number(cell.psf_2kw.psf, 3),
                number(cell.published_psf, 3) if cell.published_psf is not None else "",
            )
        table.add_section()
    return table


def listed(listing: "Listing") -> "Table":
    """One of the tables beside."""
    from rich.table import Table

    table = Table(title=listing.title, title_style="bold", title_justify="left")
    for place, head in enumerate(listing.heads):
        words = place < listing.texts
        table.add_column(head, justify="left" if words else "right", no_wrap=not words)
    for place, row in enumerate(listing.rows):
        if place and row[0]:
            table.add_section()
        table.add_row(*row)
    return table


def case_name(case: str) -> str:
    """The case with its price, its sky and its spread."""
    known = published().get(case)
    if known is None:
        return case
    return f"{case}: {known.price}, {'cloud' if known.cloud else 'clear'}, +{known.spread_eur_per_kwh:.2f} €/kWh"


def verdict(result: StudyResult) -> list[str]:
    """The table's result in sentences."""
    table, reference = result.table, result.order.reference.value
    lines = []
    if table.rmse_eur_per_day is not None:
        lines.append(
            f"RMSE {number(table.rmse_eur_per_day, 3)} €/day over {table.signs} cells; "
            f"{table.signs_matched} of {table.signs} signs."
        )
    if result.ties:
        spans = "; ".join(
            f"{STORAGE_NAMES[storage]} {number(found.psf, 3)} (published {number(found.published, 3)}, "
            f"{number(found.span[0], 3)} to {number(found.span[1], 3)} over equal-cost plans)"
            for storage, found in result.ties.items()
            if found.span is not None
        )
        lines.append(f"PSF of case 6: {spans}.")
    excluded = sorted({cell.psf.excluded for cell in table.cells})
    excluded_2kw = sorted({cell.psf_2kw.excluded for cell in table.cells})
    lines.append(
        f"PSF leaves out quarters with a reference of at most 0.5 kW ({_counts(excluded)} of 96), "
        f"or of 2 kW ({_counts(excluded_2kw)})."
    )
    lines.append(f"Reference: {reference}, {REFERENCES[reference]}.")
    return lines


def _counts(values: list[int]) -> str:
    return f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"


def spread_table(robustness: Robustness) -> "Table":
    """The numbers over other load profiles."""
    from rich.table import Table

    table = Table(title="With another measured load", title_style="bold", title_justify="left")
    table.add_column("number")
    for head in ("the site's\nload", "without\nnoise", "mean of ten\nseeds", "least", "most"):
        table.add_column(head, justify="right", no_wrap=True)
    for spread in robustness.spreads():
        values = (spread.own, spread.quiet, spread.mean, spread.least, spread.most)
        table.add_row(spread.name, *(number(value, spread.digits) for value in values))
    return table


def without_spreads(result: StudyResult) -> str:
    """The text in the place of `spread_table`."""
    if has_other_loads(result.order.site):
        return "With another measured load: not looked at (--no-robustness); the numbers above are of this one."
    return "With another measured load: not told, since no meter of the site has a typical day and a measured one."


def honesty() -> list[tuple[str, str]]:
    """Texts that stand with every table: (heading, text)."""
    return [
        ("Published", f"{_listed(PUBLISHED)} (doi {DOI})."),
        ("Fitted", f"{_listed(FITTED)}. Other sites fit as well."),
        ("Not known", f"{_listed(NOT_KNOWN)}."),
    ]


def _listed(facts: tuple[str, ...]) -> str:
    text = "; ".join(facts)
    return text[0].upper() + text[1:]


def effort(result: StudyResult) -> str:
    per_second = result.optimisations / result.wall_s
    return (
        f"{result.optimisations} optimisations with plant and network in {result.wall_s:.1f} s on "
        f"{result.processes} {'process' if result.processes == 1 else 'processes'} ({per_second:.0f} a second), "
        f"after {result.start_s:.1f} s of start-up."
    )
