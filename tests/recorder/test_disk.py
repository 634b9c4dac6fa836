"""The alarm of a disk that runs low."""

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from schemas.errors import Code, LocalStateError
from schemas.messages import Alarm, Phase, Receipt, Stamp, TimeMode
from schemas.participant import Received, Turn
from schemas.topics import Channel
from schemas.wire import encode
from services.history.sqlite import SqliteHistory
from services.history.store import HistoryStore
from services.recorder.disk import DiskWatch, free_bytes
from services.recorder.recorder import Recorder
from tests.errors import raises
from tests.history.tape import RUN, SITE, Tape, at_noon

LIMIT = 1000


class Disk:
    """One whose free space the test says."""

    def __init__(self, free: int) -> None:
        self.free = free

    def __call__(self) -> int:
        return self.free


def recorder(path: Path, disk: Disk) -> Recorder:
    return Recorder(SITE, HistoryStore(path, durable=False), "main", at_noon, DiskWatch(disk, LIMIT))


def commit(seconds: int, mode: TimeMode = TimeMode.WALL) -> Turn:
    t0 = Tape().course.t0
    return Turn(Phase.COMMIT, t0 + timedelta(seconds=seconds), t0, None, 900, mode, seconds)


def alarms(of: Recorder, turn: Turn) -> list[Alarm]:
    of.inbox.take(RUN, turn, [])
    return [sent.body for sent in of.act(turn, []) if isinstance(sent.body, Alarm)]


def test_alarm_begins_below_the_limit_and_ends_a_tenth_above_it(tmp_path: Path) -> None:
    disk = Disk(LIMIT)
    told = recorder(tmp_path / "h.sqlite", disk)
    assert alarms(told, commit(1)) == []
    disk.free = LIMIT - 1
    (began,) = alarms(told, commit(2))
    assert (began.code, began.active, began.value, began.limit) == ("disk_low", True, 999.0, 1000.0)
    disk.free = LIMIT + 99
    assert alarms(told, commit(3)) == []
    disk.free = LIMIT + 100
    (ended,) = alarms(told, commit(4))
    assert (ended.active, ended.value) == (False, 1100.0)


def test_alarm_is_told_once_also_by_a_recorder_that_was_started_again(tmp_path: Path) -> None:
    disk = Disk(0)
    before = recorder(tmp_path / "h.sqlite", disk)
    assert len(alarms(before, commit(1))) == 1
    after = recorder(tmp_path / "h.sqlite", disk)
    after.restore(json.loads(json.dumps(before.snapshot())))
    assert alarms(after, commit(2)) == []
    disk.free = 10 * LIMIT
    assert [alarm.active for alarm in alarms(after, commit(3))] == [False]


def test_lock_step_says_nothing_of_the_machines_disk(tmp_path: Path) -> None:
    told = recorder(tmp_path / "h.sqlite", Disk(0))
    turn = commit(1, TimeMode.LOCKSTEP)
    told.inbox.take(RUN, turn, [])
    (only,) = told.act(turn, [])
    assert isinstance(only.body, Receipt)


def test_alarm_of_the_recorder_is_in_the_history(tmp_path: Path) -> None:
    told = recorder(tmp_path / "h.sqlite", Disk(0))
    turn = commit(1)
    told.inbox.take(RUN, turn, [])
    alarm = next(sent for sent in told.act(turn, []) if sent.topic.channel is Channel.ALARM)
    stamp = Stamp(ts=turn.t, run=RUN, boot="recorder-1", seq=1)
    told.inbox.add(Received(alarm.topic, stamp, alarm.body), encode(stamp, alarm.body))
    told.inbox.flush()
    ((_, kept),) = SqliteHistory(tmp_path / "h.sqlite").alarms(RUN)
    assert (kept.code, kept.active, kept.limit) == ("disk_low", True, float(LIMIT))


def test_free_space_is_that_of_the_files_disk(tmp_path: Path) -> None:
    there = os.statvfs(tmp_path)
    assert free_bytes(tmp_path / "h.sqlite") == pytest.approx(there.f_bavail * there.f_frsize, rel=0.05)


def test_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with raises(Code.STATE, "gone/h.sqlite", kind=LocalStateError):
        free_bytes(tmp_path / "gone" / "h.sqlite")
