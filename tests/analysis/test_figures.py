"""Figures by the length of a run: extremes of the settlement period, aligned axes, maps, and values under a pointer."""

import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schemas.capabilities import Group
from services.analysis.figures import MOST_CLOCK_DAYS, Picture, figures_of, pictures
from services.analysis.figures.pcc import falling
from services.analysis.report import render_report
from services.analysis.run_result import RunResult
from tests.history.tape import Tape

PNG = b"\x89PNG\r\n"
QUARTER = timedelta(minutes=15)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SHORT = [
    "Power by component",
    "PCC against the baseline",
    "Price, power and state of charge",
    "Vehicles, charger by charger",
    "Duration curve of the PCC",
    "Plan and actual",
]
LONG = [
    "Energy by component and day",
    "Extremes of each day",
    "PCC by day and time of day",
    "Price, power and state of charge by day and time of day",
    "Vehicles, charger by charger",
    "Duration curve of the PCC",
    "Plan and actual",
]


def repeated(day: RunResult, days: int) -> RunResult:
    """The day again and again."""
    quarters = tuple(replace(day.quarters[index % 96], time=day.start + index * QUARTER) for index in range(days * 96))
    return replace(day, quarters=quarters, end=quarters[-1].time + QUARTER)


def with_pcc(result: RunResult, at: int, kw: float) -> RunResult:
    quarters = list(result.quarters)
    quarters[at] = replace(quarters[at], pcc_kw=kw)
    return replace(result, quarters=tuple(quarters))


@pytest.fixture(scope="module")
def month(day: RunResult) -> RunResult:
    return repeated(day, 30)


@pytest.fixture(scope="module")
def drawn(day: RunResult, month: RunResult) -> dict[int, list[Picture]]:
    """By the number of days: drawing takes the time."""
    return {1: pictures(day), 30: pictures(month)}


def picture_of(result: RunResult, title: str) -> Picture:
    (found,) = [picture for picture in pictures(result) if picture.title == title]
    return found


def test_length_of_the_run_chooses_the_figures(day: RunResult, drawn: dict[int, list[Picture]]) -> None:
    assert [picture.title for picture in drawn[1]] == SHORT
    assert [picture.title for picture in drawn[30]] == LONG
    assert [picture.title for picture in pictures(repeated(day, MOST_CLOCK_DAYS))] == SHORT
    assert [picture.title for picture in pictures(repeated(day, MOST_CLOCK_DAYS + 1))] == LONG


@pytest.mark.parametrize("days", [1, 7, 30])
def test_extremes_are_those_of_a_settlement_period_whatever_the_length(day: RunResult, days: int) -> None:
    # One quarter-hour of 44.4 kW amid 10.5 and 18.5: a mean over neighbours would be at most 31.5.
    result = with_pcc(repeated(day, days), 40, 44.4)
    stating = [picture for picture in pictures(result) if "settlement periods of 15 min" in picture.text]
    assert len(stating) >= 3
    told = [picture for picture in stating if "44.4" in picture.text]
    assert {"Duration curve of the PCC", (LONG if days > MOST_CLOCK_DAYS else SHORT)[0]} <= {p.title for p in told}


def test_highest_quarter_is_drawn_in_a_month(month: RunResult) -> None:
    result = with_pcc(month, 17 * 96 + 40, 44.4)
    maps = picture_of(result, "PCC by day and time of day")
    pixels = maps.figure.axes[0].images[0].get_array()
    assert pixels is not None
    assert pixels.shape == (96, 30)
    assert pixels[40, 17] == 44.4
    bars = picture_of(result, "Extremes of each day").figure.axes[0].patches
    assert max(bar.get_y() + bar.get_height() for bar in bars) == pytest.approx(44.4)
    assert falling([q.pcc_kw for q in result.quarters], 1_000)[0] == 44.4


@pytest.mark.parametrize("days", [1, 30])
def test_time_axes_lie_below_one_another(drawn: dict[int, list[Picture]], days: int) -> None:
    placed = set()
    for picture in drawn[days]:
        width = picture.figure.get_size_inches()[0]
        for axes in picture.figure.axes:
            place = axes.get_position()
            if place.width > 0.5:
                placed.add((round(width * place.x0, 6), round(width * place.x1, 6)))
    assert len(placed) == 1


@pytest.mark.parametrize("days", [1, 30])
def test_every_figure_has_units_and_a_time_axis(day: RunResult, drawn: dict[int, list[Picture]], days: int) -> None:
    last = day.start.astimezone(ZoneInfo("Europe/Rome")).date() + timedelta(days=days - 1)
    period = "2024-05-15" if days == 1 else f"2024-05-15 to {last}"
    for picture in drawn[days]:
        words = [axes.get_ylabel() for axes in picture.figure.axes] + [
            axes.get_title(where) for axes in picture.figure.axes for where in ("left", "center")
        ]
        assert any(re.search(r"\[(kW|kWh per day|%|€/kWh)\]", word) for word in words) or "%" in picture.text
        below = [axes.get_xlabel() for axes in picture.figure.axes if axes.get_xlabel()]
        if picture.title.startswith("Duration"):
            assert below == ["share of the time in which the power is at least as high [%]"]
        elif not (days == 30 and picture.title.startswith("Vehicles")):
            kind = "day" if days > MOST_CLOCK_DAYS else "time"
            assert below == [f"local {kind} (Europe/Rome), {period}"]
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


@pytest.mark.parametrize(
    ("begins", "changes", "mean"),
    [(datetime(2024, 3, 20, 23, tzinfo=UTC), 10, math.nan), (datetime(2024, 10, 19, 22, tzinfo=UTC), 7, 3.0)],
)
def test_map_of_days_that_change_the_clock_lacks_an_hour_or_shows_its_mean(
    day: RunResult, begins: datetime, changes: int, mean: float
) -> None:
    # 12 days by UTC. In autumn 02:00 is there twice, with 1 and 5 kW; in spring not at all.
    zone = ZoneInfo("Europe/Rome")
    quarters = tuple(
        replace(day.quarters[0], time=time, pcc_kw=5.0 if time.astimezone(zone).fold else 1.0)
        for time in (begins + index * QUARTER for index in range(12 * 96))
    )
    result = replace(day, quarters=quarters, start=begins)
    picture = picture_of(result, "PCC by day and time of day")
    pixels = picture.figure.axes[0].images[0].get_array()
    assert pixels is not None
    shown = pixels.filled(math.nan)[8:12, changes]
    assert shown.tolist() == pytest.approx([mean] * 4, nan_ok=True)
    assert "The hour that a day has twice" in picture.text
    labels = figures_of(result).tables["quarters"].labels
    assert len(set(labels)) == len(labels)


def test_chargers_without_a_vehicle_are_named_and_have_no_drawing(day: RunResult) -> None:
    (charger,) = [device for device in day.devices if device.group is Group.VEHICLES]
    absent = replace(charger, device="charger-2", sessions=0)
    for result in (day, repeated(day, 30)):
        more = replace(result, devices=(*result.devices, absent))
        picture = picture_of(more, "Vehicles, charger by charger")
        assert "No vehicle came to charger-2." in picture.text
        assert sum(bool(area.columns) for area in picture.areas) == 1
        assert "No vehicle" not in picture_of(result, "Vehicles, charger by charger").text


def test_sixteen_chargers_are_sixteen_small_drawings(day: RunResult) -> None:
    (charger,) = [device for device in day.devices if device.group is Group.VEHICLES]
    names = [f"charger-{number}" for number in range(1, 17)]
    quarters = tuple(
        replace(
            q,
            power_kw={**q.power_kw, **dict.fromkeys(names, q.power_kw["charger-1"])},
            soc_frac={**q.soc_frac, **dict.fromkeys(names, q.soc_frac["charger-1"])},
        )
        for q in day.quarters
    )
    others = tuple(device for device in day.devices if device is not charger)
    many = replace(day, quarters=quarters, devices=(*others, *(replace(charger, device=name) for name in names)))
    for result in (many, repeated(many, 30)):
        picture = picture_of(result, "Vehicles, charger by charger")
        assert len(picture.areas) == 16
        assert [area.columns[0].name.split(",")[0] for area in picture.areas] == names
        tops = [area.box for area in picture.areas]
        assert len(set(tops)) == 16


def test_price_power_and_soc_share_one_time_axis_and_one_answer(drawn: dict[int, list[Picture]]) -> None:
    for picture in (drawn[1][2], drawn[30][3]):
        assert len(picture.areas) >= 3
        assert len({area.x for area in picture.areas}) == 1
        for area in picture.areas:
            assert {"purchase", "sale", "BESS", "BESS, SOC"} <= {column.name for column in area.columns}


def test_values_under_the_pointer_are_those_of_the_result(day: RunResult, month: RunResult) -> None:
    for result in (day, month):
        told = json.loads(json.dumps(figures_of(result).hover(), allow_nan=False))
        quarters = told["tables"]["quarters"]
        assert quarters["columns"]["PCC"]["values"] == [round(q.pcc_kw or 0.0, 4) for q in result.quarters]
        assert quarters["labels"][0] == "Wed 15 May 2024, 00:00"
        assert len(told["pictures"]) == (len(SHORT) if result is day else len(LONG))
        for areas in told["pictures"]:
            for area in areas:
                rows = len(told["tables"][area["table"]]["labels"])
                columns = told["tables"][area["table"]]["columns"]
                assert all(len(columns[name]["values"]) == rows for name in area["columns"])


def test_year_stays_a_page_that_can_be_sent(day: RunResult) -> None:
    year = repeated(day, 365)
    of_year = pictures(year)
    labels = [text.get_text() for text in of_year[1].figure.axes[0].get_xticklabels()]
    assert labels == [f"01.{month:02}." for month in (*range(6, 13), *range(1, 6))], "months"
    assert all(len(picture.svg_uri()) < 1_000_000 for picture in of_year)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_pointer_in_a_browser_without_network_shows_time_price_and_soc(
    day: RunResult, drawn: dict[int, list[Picture]], tmp_path: Path
) -> None:
    # A pointer over the third figure, half way across its frame: 12:00, when the tape's prices change.
    picture = drawn[1][2]
    left, top, right, bottom = picture.areas[0].box
    probe = f"""<script>
      addEventListener("load", () => {{
        const plot = document.querySelectorAll(".plot")[2], frame = plot.querySelector("img").getBoundingClientRect();
        const at = (h, v) => plot.dispatchEvent(new PointerEvent("pointermove",
          {{clientX: frame.left + h * frame.width, clientY: frame.top + v * frame.height}}));
        at({(left + right) / 2 + 1e-3}, {(top + bottom) / 2});
        document.title = JSON.stringify(plot.querySelector(".tip").textContent);
        at(0.001, 0.5);
        document.title += plot.querySelector(".tip").hidden;
      }});</script></body>"""
    page = tmp_path / "report.html"
    page.write_text(render_report(day).replace("</body>", probe), encoding="utf-8")
    assert CHROMIUM is not None
    dumped = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"),
            *(f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    found = re.search(r"<title>(.*?)</title>", dumped)
    assert found is not None
    shown = found[1].replace("\\n", "\n")
    assert shown.startswith('"Wed 15 May 2024, 12:00\n')
    for part in ("purchase: 0.3000 €/kWh", "sale: 0.2000 €/kWh", "BESS: 0.00 kW", "BESS, SOC: "):
        assert part in shown
    assert shown.endswith('"true')
