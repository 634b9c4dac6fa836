"""A year in one HTML file with everything in it, which needs neither network nor scripts, and prints on A4."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from schemas.errors import Code, InputError
from services.analysis.summary import number
from twinswarm.study.figures import Drawn
from twinswarm.year.result import YearResult
from twinswarm.year.tables import (
    connection_notes,
    energy_heads,
    energy_rows,
    money_heads,
    money_rows,
    month_heads,
    month_rows,
    notes,
    period,
)

REPORT = "report.html"


def render_year(result: YearResult, figures: Sequence[Drawn]) -> str:
    """The page as text; the same result gives the same bytes."""
    environment = Environment(
        loader=PackageLoader("twinswarm.year", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    none = result.none.total
    return environment.get_template("year.html.j2").render(
        site=result.order.site,
        period=period(result),
        days=result.order.days,
        key=[(variant.name, number(variant.total.saved_eur(none), 0, "€")) for variant in result.others],
        none_eur=number(none.total_eur, 0, "€"),
        tables=[
            ("Cost, savings and peaks", money_heads(result), money_rows(result)),
            ("Energy", energy_heads(result), energy_rows(result)),
            ("By month", month_heads(result), month_rows(result)),
        ],
        pictures=[one.picture for one in figures],
        warnings=connection_notes(result),
        notes=notes(result, warnings=False),
    )


def write_year(result: YearResult, figures: Sequence[Drawn], folder: Path) -> Path:
    """Writes the page, and returns its file. Raises InputError naming it."""
    file = folder / REPORT
    try:
        file.write_text(render_year(result, figures), encoding="utf-8")
    except OSError as error:
        raise InputError.one(str(file), f"the report cannot be written: {error}", code=Code.UNWRITABLE) from None
    return file
