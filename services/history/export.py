"""A recorded run as tables in files: CSV or Parquet, one file per table."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from schemas.errors import Code, InputError
from schemas.messages import Setpoint, Stamp
from schemas.participant import Received
from services.history.reader import History
from services.history.sessions import RecordedChargingSession

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["csv", "parquet"]

_SETPOINT = ("id", "epoch", "valid_from", "valid_until", "power_kw", "limit_kw", "reason")
_MESSAGE = ["time", "kind", "device", "channel", "boot", "seq", "content"]
_STAY = [field.name for field in dataclasses.fields(RecordedChargingSession)]


def export_run(history: History, run: str, folder: Path, form: Format = "csv") -> list[Path]:
    """Writes the run's tables into ``folder`` (made if need be) and returns the files.

    ``devices`` one row per (time, device), ``site`` one per time, ``sessions`` one per stay, ``setpoints`` one per
    message, ``messages`` everything, contents as JSON. Times are UTC, units stand in the column names. Raises
    InputError when there is no such run or the folder cannot be written.
    """
    tables = _tables(history, run)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = []
        for name, table in tables.items():
            file = folder / f"{name}.{form}"
            if form == "csv":
                table.to_csv(file, index=False)
            else:
                _write_parquet(table, file)
            files.append(file)
    except OSError as error:
        raise InputError.one(str(folder), f"cannot be written: {error}", code=Code.UNWRITABLE) from None
    return files


def _write_parquet(table: "pd.DataFrame", file: Path) -> None:
    """By polars: pandas would need another 170 MB of library for it."""
    import polars as pl

    columns = {str(name): column.astype(object).where(column.notna(), None) for name, column in table.items()}
    pl.DataFrame({name: column.to_list() for name, column in columns.items()}, strict=False).write_parquet(file)


def _tables(history: History, run: str) -> "dict[str, pd.DataFrame]":
    import pandas as pd

    data = history.dataset(run)
    wide = data.drop_dims(["interval", "node", "element"])
    per_time = [name for name in wide.data_vars if wide[name].dims == ("time",)]
    per_device = [name for name in wide.data_vars if wide[name].dims == ("time", "device")]
    return {
        "devices": _utc(wide[per_device].to_dataframe().reset_index()),
        "site": _utc(wide[per_time].to_dataframe().reset_index()),
        "sessions": pd.DataFrame([dataclasses.asdict(stay) for stay in history.sessions(run)], columns=_STAY),
        "setpoints": pd.DataFrame(
            [_setpoint(received, body) for received, body in history.setpoints(run)],
            columns=["time", "device", *_SETPOINT],
        ),
        "messages": pd.DataFrame([_message(received) for received in history.messages(run)], columns=_MESSAGE),
    }


def _utc(table: "pd.DataFrame") -> "pd.DataFrame":
    table["time"] = table["time"].dt.tz_localize("UTC")
    return table


def _setpoint(received: Received, body: Setpoint) -> dict[str, object]:
    return {"time": received.stamp.ts, "device": received.topic.device, **body.model_dump(include=set(_SETPOINT))}


def _message(received: Received) -> dict[str, object]:
    topic, stamp = received.topic, received.stamp
    content = received.body.model_dump(mode="json", exclude=set(Stamp.model_fields), exclude_none=True)
    told = (stamp.ts, str(topic.kind), topic.device, str(topic.channel), stamp.boot, stamp.seq)
    return dict(zip(_MESSAGE, (*told, json.dumps(content, ensure_ascii=False)), strict=True))
