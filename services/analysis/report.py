"""The report of a run: one HTML file with everything in it, which needs no network.

Its one script shows the values under the pointer; without it the page says the same.
"""

from pathlib import Path
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from schemas.errors import Code, InputError
from services.analysis.figures import figures_of
from services.analysis.run_result import RunResult
from services.analysis.shaving import STRICT_THRESHOLD_KW, THRESHOLD_KW
from services.analysis.summary import REFERENCES, blocks, doubtful_number, duration, local, number, percent, scientific


def render_report(result: RunResult) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("services.analysis", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    zone = result.time_zone
    figures = figures_of(result)
    return environment.get_template("report.html.j2").render(
        result=result,
        day=_period(result),
        begin=local(result.start, zone),
        end=local(result.end, zone),
        worst=local(result.energy_residual_at, zone),
        blocks=blocks(result),
        pictures=figures.pictures,
        by_day=any(area.table == "days" for picture in figures.pictures for area in picture.areas),
        hover=figures.hover(),
        script=Markup((Path(__file__).parent / "templates" / "hover.js").read_text(encoding="utf-8")),  # noqa: S704
        reference=REFERENCES.get(result.reference or "", result.reference),
        threshold_kw=THRESHOLD_KW,
        strict_threshold_kw=STRICT_THRESHOLD_KW,
        number=number,
        local=lambda time: local(time, zone),
        doubtful_number=doubtful_number,
        percent=percent,
        scientific=scientific,
        duration=duration,
    )


def write_report(result: RunResult, folder: Path, name: str = "report.html") -> Path:
    """Writes the page into ``folder``, made if need be, and returns its file. Raises InputError naming it."""
    file = folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(render_report(result), encoding="utf-8")
    except OSError as error:
        raise InputError.one(str(file), f"the report cannot be written: {error}", code=Code.UNWRITABLE) from None
    return file


def _period(result: RunResult) -> str:
    zone = ZoneInfo(result.time_zone)
    first = result.start.astimezone(zone)
    if result.end is None or (result.end - result.start).total_seconds() <= 25 * 3600:
        return f"{first:%A} {first.day} {first:%B %Y}"
    last = result.end.astimezone(zone)
    return f"{first.day} {first:%B %Y} to {last.day} {last:%B %Y}"
