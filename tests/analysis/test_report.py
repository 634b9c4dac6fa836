"""Tables, figures and the report: complete, self-contained, the same each time."""

import dataclasses
import io
import re
from collections.abc import Callable
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from schemas.errors import Code
from schemas.messages import Alarm, Severity
from services.analysis.figures import pictures
from services.analysis.report import render_report, write_report
from services.analysis.run_result import RunResult
from services.analysis.tables import device_table, disturbance_table, summary_table
from tests.errors import raises
from tests.history.tape import Tape

PNG = b"\x89PNG\r\n"


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


def test_report_is_one_file_without_scripts_and_without_network(page: str) -> None:
    parsed = _page(page)
    names = {tag for tag, _ in parsed.tags}
    assert not names & {"script", "link", "iframe", "object"}
    sources = [attributes["src"] for tag, attributes in parsed.tags if tag == "img"]
    assert len(sources) == 5
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
    assert "<script>" not in text


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


def test_every_figure_has_labelled_axes_with_units_and_a_legend(day: RunResult) -> None:
    drawn = pictures(day)
    assert [picture.title for picture in drawn] == [
        "Power by component",
        "PCC against the baseline",
        "State of charge",
        "Prices",
        "Plan and actual",
    ]
    for picture in drawn:
        (axes,) = picture.figure.axes
        assert re.search(r"\[(kW|%|€/kWh)\]$", axes.get_ylabel())
        assert axes.get_xlabel() == "local time (Europe/Rome), 2024-05-15"
        assert [label.get_text() for label in axes.get_xticklabels()][::6] == ["00:00", "12:00", "24:00"]
        assert axes.get_legend() is not None
        assert picture.png().startswith(PNG)


@pytest.mark.parametrize(
    ("on", "labels", "hours"),
    [
        (date(2024, 3, 31), ["00:00", "04:00"], [0, 3]),
        (date(2024, 10, 27), ["00:00", "02:00", "04:00"], [0, 2, 5]),
    ],
)
def test_axis_tells_the_local_clock_on_days_that_change_it(
    analysed: Callable[..., RunResult], on: date, labels: list[str], hours: list[int]
) -> None:
    axes = pictures(analysed(Tape(day=on)))[0].figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()][: len(labels)] == labels
    assert axes.get_xticks().tolist()[: len(hours)] == hours
    assert axes.get_xticklabels()[-1].get_text() == "24:00"


def test_stacked_components_add_up_to_the_pcc(day: RunResult) -> None:
    for quarter in day.quarters:
        powers = [kw for kw in quarter.power_kw.values() if kw is not None]
        assert sum(powers) + (quarter.losses_kw or 0.0) == pytest.approx(quarter.pcc_kw, abs=1e-9)


def test_year_is_drawn_as_means_with_days_on_its_axis(day: RunResult) -> None:
    count = 365 * 96
    quarters = tuple(
        dataclasses.replace(day.quarters[index % 96], time=day.start + index * timedelta(minutes=15))
        for index in range(count)
    )
    long = dataclasses.replace(day, quarters=quarters, end=quarters[-1].time + timedelta(minutes=15))
    picture = pictures(long)[1]
    labels = [label.get_text() for label in picture.figure.axes[0].get_xticklabels()]
    assert labels[0] == "15.05."
    assert 8 <= len(labels) <= 14
    assert len(picture.svg_uri()) < 1_000_000


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
