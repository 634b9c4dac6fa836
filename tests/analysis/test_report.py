"""Tables, figures and the report: complete, self-contained, the same each time."""

import dataclasses
import io
import re
from collections.abc import Callable
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from schemas.errors import Code
from schemas.messages import Alarm, Severity
from services.analysis.report import render_report, write_report
from services.analysis.run_result import RunResult
from services.analysis.tables import device_table, disturbance_table, summary_table
from tests.errors import raises
from tests.history.tape import Tape


class _Page(HTMLParser):
    """Tags with their attributes, and whether they are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _page(text: str) -> _Page:
    page = _Page()
    page.feed(text)
    assert page.open == []
    return page


@pytest.fixture(scope="module")
def page(day: RunResult) -> str:
    return render_report(day)


def test_report_is_one_file_without_network(page: str) -> None:
    parsed = _page(page)
    names = {tag for tag, _ in parsed.tags}
    assert not names & {"link", "iframe", "object"}
    assert [attributes for tag, attributes in parsed.tags if tag == "script"] == [
        {"type": "application/json", "id": "values"},
        {},
    ]
    sources = [attributes["src"] for tag, attributes in parsed.tags if tag == "img"]
    assert len(sources) == 6
    assert all(source is not None and source.startswith("data:image/svg+xml;base64,") for source in sources)
    without_pictures = re.sub(r'src="[^"]*"', "", page)
    assert "http" not in without_pictures
    assert "url(" not in without_pictures


def test_report_says_what_it_shows_to_those_who_cannot_see_it(page: str) -> None:
    tags = _page(page).tags
    assert all(len(attributes.get("alt") or "") > 40 for tag, attributes in tags if tag == "img")
    assert dict(tags)["html"] == {"lang": "en"}


def test_report_holds_the_numbers_and_names_the_baseline(page: str) -> None:
    for part in ("49.80 €", "51.20 €", "1.40 €", "1.024", "12.00 kWh", "smart", "0 of 96 quarter-hours are left out"):
        assert part in page


def test_report_escapes_what_others_wrote(day: RunResult) -> None:
    text = render_report(dataclasses.replace(day, description="<script>alert(1)</script>", quarters=()))
    assert "<script>alert" not in text


def test_same_result_gives_the_same_bytes_in_the_folder_asked_for(day: RunResult, page: str, tmp_path: Path) -> None:
    file = write_report(day, tmp_path / "made" / "here")
    assert file.read_text(encoding="utf-8") == page


def test_report_of_a_run_without_reference_plan_and_quarters_can_be_read(day: RunResult) -> None:
    bare = dataclasses.replace(
        day,
        complete=False,
        reference=None,
        savings_eur=None,
        psf=None,
        quarters=(),
        energy_causes=(("charger-1: no telemetry", timedelta(minutes=75)),),
    )
    text = render_report(bare)
    assert "not carried to its end" in text
    assert "no whole quarter-hour" in text
    assert "1 h 15 min" in text
    assert "None" not in text


def _overload(*, active: bool) -> Alarm:
    over = "" if active else "over: "
    text = f"{over}overload at transformer: 1.2000, limit 1.0000"
    return Alarm(code="overload", severity=Severity.WARNING, active=active, element="transformer", text=text)


def test_an_alarm_that_began_and_ended_is_counted_once_wherever_the_run_is_told(
    analysed: Callable[..., RunResult],
) -> None:
    result = analysed(Tape(alarms={10: _overload(active=True), 12: _overload(active=False)}))
    assert (result.alarms, result.alarms_by_code) == (1, {"overload": 1})
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(summary_table(result))
    assert re.search(r"Alarms[ │]+1[ │]+1 overload", console.export_text())
    text = " ".join(re.sub(r"<[^>]+>", " ", render_report(result)).split())
    assert "Alarms 1 1 overload" in text


def test_a_run_without_alarms_says_nothing_of_them(day: RunResult) -> None:
    assert (day.alarms, day.alarms_by_code) == (0, {})
    assert "Alarms" not in render_report(day)


def test_report_in_a_place_that_cannot_be_written_is_an_input_error(day: RunResult, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with raises(Code.UNWRITABLE, "file"):
        write_report(day, tmp_path / "file")


def test_stacked_components_add_up_to_the_pcc(day: RunResult) -> None:
    for quarter in day.quarters:
        powers = [kw for kw in quarter.power_kw.values() if kw is not None]
        assert sum(powers) + (quarter.losses_kw or 0.0) == pytest.approx(quarter.pcc_kw, abs=1e-9)


def test_tables_fit_a_terminal_of_eighty_columns(day: RunResult) -> None:
    disturbed = dataclasses.replace(day, energy_causes=(("charger-1: [bold] no telemetry", timedelta(minutes=75)),))
    disturbances = disturbance_table(disturbed)
    assert disturbances is not None
    assert disturbance_table(day) is None
    console = Console(width=80, record=True, file=io.StringIO())
    for table in (summary_table(day), device_table(day), disturbances):
        console.print(table)
    text = console.export_text()
    assert all(len(line) <= 80 for line in text.splitlines())
    for part in ("49.80 €", "1.40 €", "charger-1: [bold] no telemetry", "kWh", "3.29 kWh (0.66 €)"):
        assert part in text
    assert "…" not in text
