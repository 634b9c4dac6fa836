"""The study in one HTML file with everything in it, which needs neither network nor scripts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from schemas.errors import Code, InputError
from services.analysis.summary import REFERENCES, number
from twinswarm.study.beside import plain_words, ranking, stored_and_periodic, wear_listing
from twinswarm.study.figures import Drawn
from twinswarm.study.orders import TIES
from twinswarm.study.periodic import Periodic
from twinswarm.study.published import DOI
from twinswarm.study.robustness import Robustness
from twinswarm.study.study import StudyResult
from twinswarm.study.tables import STORAGE_NAMES, case_name, change, honesty, verdict, without_spreads

REPORT = "report.html"


@dataclass(frozen=True)
class _Row:
    first: bool
    case: str
    storage: str
    published: str
    ours: str
    difference: str
    wrong: bool
    psf: str
    psf_2kw: str
    published_psf: str


@dataclass(frozen=True)
class _Named:
    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class _Spread:
    name: str
    numbers: tuple[str, ...]


def render_study(
    result: StudyResult,
    figures: Sequence[Drawn],
    periodic: Periodic,
    car_wear_eur_per_kwh: float,
    robustness: Robustness | None = None,
    sensitivities: Sequence[Drawn] = (),
) -> str:
    """The page as text; the same result gives the same bytes."""
    environment = Environment(
        loader=PackageLoader("twinswarm.study", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    reference = result.order.reference.value
    return environment.get_template("study.html.j2").render(
        site=result.order.site,
        reference=reference,
        reference_text=REFERENCES[reference],
        rows=_rows(result),
        verdict=[line for line in verdict(result) if not line.startswith("Reference:")],
        ties=_ties(result),
        tie_storages=[STORAGE_NAMES[storage] for storage in result.ties],
        listings=[
            listing
            for listing in (stored_and_periodic(result, periodic), wear_listing(result, car_wear_eur_per_kwh))
            if listing is not None
        ],
        ranking=ranking(result, periodic),
        honesty=[*plain_words(result), *honesty()],
        spreads=_spreads(robustness),
        without_spreads=without_spreads(result),
        figures=figures,
        sensitivities=sensitivities,
        doi=DOI,
    )


def write_study(text: str, folder: Path) -> Path:
    """Raises InputError naming the file."""
    file = folder / REPORT
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError.one(
            str(file), f"the report cannot be written: {error.strerror}", code=Code.UNWRITABLE
        ) from None
    return file


def _rows(result: StudyResult) -> list[_Row]:
    rows: list[_Row] = []
    before = None
    for cell in result.table.cells:
        rows.append(
            _Row(
                first=cell.case != before,
                case=case_name(cell.case) if cell.case != before else "",
                storage=STORAGE_NAMES[cell.storage],
                published=change(cell.published_eur_per_day),
                ours=change(cell.change_eur_per_day),
                difference=change(cell.difference_eur_per_day),
                wrong=cell.sign_matches is False,
                psf=number(cell.psf.psf, 3),
                psf_2kw=number(cell.psf_2kw.psf, 3),
                published_psf="" if cell.published_psf is None else number(cell.published_psf, 3),
            )
        )
        before = cell.case
    return rows


def _ties(result: StudyResult) -> list[_Named]:
    if not result.ties:
        return []
    found = result.ties.values()
    rows = [
        _Named("published", tuple(number(one.published, 3) for one in found)),
        _Named("the site's own", tuple(number(one.psf, 3) for one in found)),
    ]
    for tie in TIES:
        values = (f"{number(one.by_tie[tie], 3)} ({change(one.cost_eur_by_tie[tie], 3)})" for one in found)
        rows.append(_Named(tie, tuple(values)))
    return rows


def _spreads(robustness: Robustness | None) -> list[_Spread]:
    if robustness is None:
        return []
    rows = []
    for spread in robustness.spreads():
        values = (spread.own, spread.quiet, spread.mean, spread.least, spread.most)
        told = [number(value, spread.digits) for value in values]
        rows.append(_Spread(spread.name, tuple(told)))
    return rows
