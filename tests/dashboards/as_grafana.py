"""What Grafana makes of a dashboard's queries and of their answers, where no Grafana can be had.

By its documentation and source, version 12: variables by the formats of "Advanced variable format options"; macros as
``pkg/tsdb/influxdb/flux/macros.go`` replaces them; frames as ``builder.go`` beside it makes them of annotated CSV, and
options of a variable from each frame's first text column (``toMetricFindValue`` in ``datasource.ts``).
"""

import csv
import io
import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

Value = str | list[str]
Json = dict[str, Any]

ALL = "$__all"
_VARIABLE = re.compile(r"\$(\w+)|\$\{(\w+)(?::([^}]+))?\}")
_SPECIAL = re.compile(r"[\\^$*+?.()|\[\]{}/]")
_MACRO = re.compile(r"([a-zA-Z]+)\.([a-zA-Z]+)")
_POINTS = 1000
"""Of a panel as wide as a screen."""
_NICE_S = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)


@dataclass(frozen=True)
class TimeRange:
    start: datetime
    stop: datetime

    def interval(self, least: str | None) -> timedelta:
        """Between two points of a panel: the range by its width, as a round time, at least the panel's own."""
        exact_s = (self.stop - self.start).total_seconds() / _POINTS
        round_s = min(_NICE_S, key=lambda nice: abs(nice - exact_s))
        units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
        least_s = int(least[:-1]) * units[least[-1]] if least else 0
        return timedelta(seconds=max(round_s, least_s))


def _escaped(text: str) -> str:
    return _SPECIAL.sub(lambda found: f"\\{found[0]}", text)


def _regex(_: str, value: Value) -> str:
    if isinstance(value, str):
        return _escaped(value)
    escaped = [_escaped(one) for one in value]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def _glob(_: str, value: Value) -> str:
    if isinstance(value, str):
        return value
    return value[0] if len(value) == 1 else f"{{{','.join(value)}}}"


def _queryparam(name: str, value: Value) -> str:
    return "&".join(f"var-{name}={quote(one, safe='')}" for one in ([value] if isinstance(value, str) else value))


_FORMATS: dict[str, Callable[[str, Value], str]] = {"regex": _regex, "glob": _glob, "queryparam": _queryparam}


def interpolate(text: str, variables: Mapping[str, Value]) -> str:
    """Dashboard variables; what is none stays as it is. KeyError: a format that is not among ours."""

    def replaced(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        return _FORMATS[found[3] or "glob"](name, variables[name]) if name in variables else found[0]

    return _VARIABLE.sub(replaced, text)


def with_macros(flux: str, within: TimeRange, interval: timedelta) -> str:
    """Whatever stands before the point, as in the data source itself."""
    values = {
        "timeRangeStart": _rfc3339(within.start),
        "timeRangeStop": _rfc3339(within.stop),
        "windowPeriod": _duration(interval),
        "bucket": '""',
        "defaultBucket": '""',
        "organization": '""',
    }
    for found in _MACRO.finditer(flux):
        if found[2] in values:
            flux = flux.replace(found[0], values[found[2]])
    return flux.replace("$__interval", _duration(interval))


def _rfc3339(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _duration(interval: timedelta) -> str:
    """As Go writes it: 1h0m0s."""
    minutes, seconds = divmod(round(interval.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}s" if hours else f"{minutes}m{seconds}s" if minutes else f"{seconds}s"


@dataclass(frozen=True)
class Field:
    name: str
    type: str
    """string, number, time or boolean."""
    labels: dict[str, str]
    values: list[Any]


@dataclass(frozen=True)
class Frame:
    fields: list[Field]

    def field(self, name: str) -> Field:
        return next(field for field in self.fields if field.name == name)

    @property
    def series(self) -> tuple[str, list[datetime], list[float]]:
        """Name, times and values of a frame that is one; AssertionError when it is not."""
        assert [field.type for field in self.fields] == ["time", "number"], self.fields
        times, values = self.fields
        assert values.name != "Value" and not values.labels, values
        return values.name, times.values, values.values


_TYPES = {
    "string": "string",
    "double": "number",
    "long": "number",
    "unsignedLong": "number",
    "boolean": "boolean",
    "dateTime:RFC3339": "time",
    "dateTime:RFC3339Nano": "time",
}


class DataSource:
    """InfluxDB as Grafana asks it."""

    def __init__(self, url: str, org: str, token: str) -> None:
        self._url = f"{url}/api/v2/query?org={quote(org)}"
        self._headers = {
            "Authorization": f"Token {token}",
            "Content-Type": "application/json",
            "Accept": "application/csv",
        }

    def frames(self, flux: str) -> list[Frame]:
        """AssertionError with the query when the server refuses it."""
        order = {"query": flux, "dialect": {"annotations": ["datatype", "group", "default"], "header": True}}
        request = urllib.request.Request(self._url, json.dumps(order).encode(), self._headers)
        try:
            with urllib.request.urlopen(request) as answer:
                return list(_frames(answer.read().decode()))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error.read().decode()}\n{flux}") from None

    def panel(self, panel: Json, variables: Mapping[str, Value], within: TimeRange) -> list[list[Frame]]:
        """The frames of each of a panel's queries."""
        interval = within.interval(panel.get("interval"))
        return [
            self.frames(with_macros(interpolate(target["query"], variables), within, interval))
            for target in panel["targets"]
        ]

    def chosen(self, dashboard: Json, within: TimeRange, told: Mapping[str, Value]) -> dict[str, Value]:
        """Values of the dashboard's variables: as the address tells (``told``), else what stands in the dashboard if
        it is an option, else the first option; All is every option."""
        values: dict[str, Value] = {}
        for variable in dashboard["templating"]["list"]:
            options = self.options(variable, values, within)
            name, current = variable["name"], variable.get("current", {}).get("value")
            if name in told:
                values[name] = told[name]
            elif current == ALL:
                values[name] = options
            else:
                values[name] = current if current in options else options[0] if options else ""
        return values

    def options(self, variable: Json, values: Mapping[str, Value], within: TimeRange) -> list[str]:
        frames = self.frames(
            with_macros(interpolate(variable["query"]["query"], values), within, within.interval(None))
        )
        firsts = (next(field for field in frame.fields if field.type == "string") for frame in frames)
        return list(dict.fromkeys(str(value) for field in firsts for value in field.values))


def _frames(text: str) -> Iterator[Frame]:
    """One for each group key. Groups become labels; a time and a value alone are called so."""
    for block in re.split(r"\r?\n\r?\n", text.strip()):
        rows = list(csv.reader(io.StringIO(block)))
        if len(rows) < 5:
            continue
        kinds, grouped, _, header = rows[:4]
        columns = [place for place, name in enumerate(header) if name not in {"", "result", "table"}]
        keys = [place for place in columns if grouped[place] == "true"]
        data = [place for place in columns if grouped[place] != "true"]
        # Times come first.
        data.sort(key=lambda place: _TYPES[kinds[place]] != "time")
        tables: dict[tuple[str, ...], list[list[str]]] = {}
        for row in rows[4:]:
            tables.setdefault(tuple(row[place] for place in keys), []).append(row)
        for key, of_table in tables.items():
            yield _frame(
                {header[place]: value for place, value in zip(keys, key, strict=True) if value},
                [(header[place], _TYPES[kinds[place]], [row[place] for row in of_table]) for place in data],
            )


def _frame(labels: dict[str, str], columns: list[tuple[str, str, list[str]]]) -> Frame:
    labels = {name: value for name, value in labels.items() if name != "_measurement"}
    times = [name for name, kind, _ in columns if kind == "time"]
    others = [name for name, kind, _ in columns if kind != "time"]
    simple = times == ["_time"] and others == ["_value"]
    value_name = "Value"
    if simple:
        value_name = labels.pop("_field", "Value")
        labels = {name: value for name, value in labels.items() if name not in {"_start", "_stop"}}
    names = {"_time": "Time", "_value": value_name} if simple else {}
    return Frame(
        [
            Field(names.get(name, name), kind, {} if kind == "time" else labels, [_value(kind, text) for text in texts])
            for name, kind, texts in columns
        ]
    )


def _value(kind: str, text: str) -> Any:
    if kind == "string":
        return text
    if not text:
        return None
    if kind == "number":
        return float(text)
    return datetime.fromisoformat(text) if kind == "time" else text == "true"


def panels(dashboard: Json) -> Iterator[Json]:
    """Those with queries, in rows or not."""
    for panel in dashboard["panels"]:
        yield from panel.get("panels", [])
        if panel["type"] != "row":
            yield panel
