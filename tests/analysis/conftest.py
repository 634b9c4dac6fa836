"""Recorded days whose numbers follow by hand; see `tests.history.tape`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from services.analysis.result import RunResult, analyse
from services.history.sqlite import SqliteHistory
from tests.history.tape import REFERENCE, RUN, Tape, record

Analyse = Callable[..., RunResult]


@pytest.fixture
def analysed(tmp_path: Path) -> Analyse:
    """Records a tape (and a reference) and returns the result."""

    def build(tape: Tape, reference: Tape | None = None, last: int | None = None) -> RunResult:
        path = tmp_path / "h.sqlite"
        record(tape, path, last=last)
        history = SqliteHistory(path)
        if reference is None:
            return analyse(history, RUN)
        record(reference, path, "reference")
        return analyse(history, RUN, history, REFERENCE, "smart", 1.5)

    return build


@pytest.fixture(scope="session")
def day(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """The whole tape against the same day without a BESS."""
    path = tmp_path_factory.mktemp("day") / "h.sqlite"
    record(Tape(), path)
    record(Tape(has_bess=False, run=REFERENCE), path, "reference")
    history = SqliteHistory(path)
    return analyse(history, RUN, history, REFERENCE, "smart", 1.5)
