"""A run as tables in files."""

from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from schemas.errors import Code
from services.history.export import Format, export_run
from services.history.sqlite import SqliteHistory
from tests.errors import raises
from tests.history.tape import RUN, Tape, record


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_exported_tables_hold_the_run(tmp_path: Path, form: Format) -> None:
    record(Tape(), tmp_path / "h.sqlite", last=10)
    files = export_run(SqliteHistory(tmp_path / "h.sqlite"), RUN, tmp_path / "out", form)
    assert [file.name for file in files] == [
        f"{name}.{form}" for name in ("devices", "site", "sessions", "setpoints", "messages")
    ]

    def read(file: Path) -> pd.DataFrame:
        return pd.read_csv(file) if form == "csv" else pd.DataFrame(pl.read_parquet(file).to_dict(as_series=False))

    devices = read(files[0])
    assert len(devices) == 10 * 3
    bess = devices[devices.device == "bess"]
    assert bess.power_kw.tolist() == [8.0] * 8 + [0.0] * 2
    assert str(pd.to_datetime(bess.time.iloc[0])) == "2024-05-14 22:00:00+00:00"
    assert read(files[1]).purchase_price_eur_per_kwh.tolist() == [0.1] * 10
    assert list(read(files[2]).columns)[:3] == ["charger", "vehicle", "arrival"]
    assert len(read(files[3])) == 10
    assert len(read(files[4])) == 6 + 10 * 6


def test_folder_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    record(Tape(), tmp_path / "h.sqlite", last=2)
    (tmp_path / "out").write_text("a file")
    with raises(Code.UNWRITABLE, "out"):
        export_run(SqliteHistory(tmp_path / "h.sqlite"), RUN, tmp_path / "out")
