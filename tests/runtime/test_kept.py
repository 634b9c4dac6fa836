"""What a participant sent stays on its disk until a receipt names it; what was lost is known from the order."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from runtime.keep import Keep, keep_of
from runtime.kept import AGAIN_MOST, NOT_KEPT, ROW_BYTES, THINNED, KeptMessages
from runtime.life import Life, Sent
from schemas.errors import LocalStateError
from schemas.messages import (
    Ack,
    Alarm,
    Body,
    ChargerTelemetry,
    DepartedVehicle,
    Done,
    MeterTelemetry,
    Metric,
    Phase,
    Receipt,
    Severity,
)
from schemas.participant import Outgoing
from schemas.topics import Channel, Kind, Topic
from tests.errors import raises

T = datetime(2026, 3, 2, 10, tzinfo=UTC)
RUN, LATER = "20260302T100000.000000Z-0001", "20260302T110000.000000Z-0002"
METER = Topic("s", Kind.METER, "load", Channel.TELEMETRY)
ACK = Topic("s", Kind.CHARGER, "ev1", Channel.ACK)


class Sender:
    """A participant that keeps what it sends, of 100 bytes each."""

    def __init__(self, path: Path, boot: str = "one", most_bytes: int = 1_000_000) -> None:
        self.kept = KeptMessages(path, most_bytes)
        self.kept.begin(boot, RUN)
        self.boot = boot
        self.life = Life(boot, RUN)

    def send(self, topic: Topic, keep: Keep = Keep.THINNED, count: int = 1) -> None:
        for _ in range(count):
            seq = self.life.stamp(str(topic), T).seq
            sent = Sent(str(topic), seq, f"{seq:0100}".encode(), topic.retained)
            self.kept.add(self.boot, [(sent, keep)])

    def receipt(self, topic: Topic, *ranges: tuple[int, int]) -> list[tuple[str, int]]:
        """Topic's channel and number of what is sent again upon it."""
        named = Receipt(stored=1, missing=0, ranges={self.boot: {str(topic): ranges}})
        again = self.kept.on_receipt(named)
        assert all(sent.payload == f"{sent.seq:0100}".encode() and not sent.retain for sent in again)
        return [(sent.topic.rpartition("/")[2], sent.seq) for sent in again]


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    sender = Sender(tmp_path / "sent.sqlite")
    yield sender
    sender.kept.close()


def test_what_a_receipt_names_is_forgotten_and_what_it_passed_over_is_sent_again(sender: Sender) -> None:
    sender.send(METER, count=5)
    assert sender.receipt(METER, (1, 2), (4, 4)) == [("telemetry", 3)]
    assert sender.kept.count == 2
    assert sender.kept.size_bytes == 2 * (100 + ROW_BYTES)


def test_a_message_of_another_topic_that_was_sent_before_is_lost_as_well(sender: Sender) -> None:
    sender.send(ACK)
    sender.send(METER)
    sender.send(ACK)
    assert sender.receipt(METER, (1, 1)) == [("ack", 1)]


def test_what_is_under_way_again_is_not_sent_a_third_time_until_something_later_is_named(sender: Sender) -> None:
    sender.send(METER, count=3)
    assert sender.receipt(METER, (3, 3)) == [("telemetry", 1), ("telemetry", 2)]
    sender.send(METER)
    assert sender.receipt(METER, (3, 3)) == []
    assert sender.receipt(METER, (2, 4)) == [("telemetry", 1)]
    assert sender.receipt(METER, (1, 4)) == []
    assert sender.kept.count == 0


def test_receipts_of_others_and_of_nothing_change_nothing(sender: Sender) -> None:
    sender.send(METER, count=2)
    assert sender.kept.on_receipt(Receipt(stored=0, missing=0, dead_letters=0)) == []
    foreign = Receipt(stored=9, missing=0, ranges={"two": {str(METER): ((1, 9),)}})
    assert sender.kept.on_receipt(foreign) == []
    assert sender.kept.count == 2


def test_a_long_gap_is_sent_again_receipt_by_receipt(sender: Sender) -> None:
    sender.send(METER, count=2 * AGAIN_MOST + 10)
    last = 2 * AGAIN_MOST + 10
    assert len(sender.receipt(METER, (last, last))) == AGAIN_MOST
    sender.send(METER)
    assert sender.receipt(METER, (1, AGAIN_MOST), (last, last + 1)) == [
        ("telemetry", seq) for seq in range(AGAIN_MOST + 1, 2 * AGAIN_MOST + 1)
    ]


def test_a_process_that_is_killed_leaves_all_that_it_was_about_to_publish(tmp_path: Path) -> None:
    path = tmp_path / "sent.sqlite"
    program = f"""
import os, signal
from pathlib import Path
from tests.runtime.test_kept import METER, Sender
sender = Sender(Path({str(path)!r}))
sender.send(METER, count=20)
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], check=False, cwd=Path(__file__).parents[2])
    kept = KeptMessages(path)
    assert kept.count == 20
    assert kept.last_numbers("one") == {str(METER): 20}
    again = kept.on_receipt(Receipt(stored=1, missing=0, ranges={"one": {str(METER): ((20, 20),)}}))
    assert [sent.seq for sent in again] == list(range(1, 20))
    kept.close()


def test_what_is_kept_counts_as_used_although_the_checkpoint_does_not_have_it(sender: Sender) -> None:
    sender.send(METER, count=3)
    life = Life("one", RUN, {str(METER): 2, str(ACK): 7})
    life.use(sender.kept.last_numbers("one"))
    assert life.seqs == {str(METER): 3, str(ACK): 7}


def test_another_life_in_the_same_run_is_asked_for_and_one_of_an_earlier_run_is_forgotten(sender: Sender) -> None:
    sender.send(METER, count=2)
    sender.kept.begin("two", RUN)
    sender.boot, sender.life = "two", Life("two", RUN)
    sender.send(METER)
    assert sender.receipt(METER, (1, 1)) == [("telemetry", 1), ("telemetry", 2)]
    sender.kept.begin("three", LATER)
    assert (sender.kept.count, sender.kept.size_bytes) == (0, 0)


def test_at_the_bound_metrics_go_first_then_the_oldest_telemetry_is_thinned_and_acks_stay(tmp_path: Path) -> None:
    one = 100 + ROW_BYTES
    sender = Sender(tmp_path / "sent.sqlite", most_bytes=60 * one)
    metric = Topic("s", Kind.METER, "load", Channel.METRIC)
    sender.send(metric, Keep.DROPPED, 10)
    sender.send(ACK, Keep.ALWAYS, 20)
    sender.send(METER, count=30)
    assert (sender.kept.count, sender.kept.thinned) == (60, 0)
    sender.send(METER, count=10)
    assert len(held(sender, metric)) < 10
    assert held(sender, METER) == list(range(1, 41))
    sender.send(METER, count=200)
    telemetry = held(sender, METER)
    assert held(sender, metric) == []
    assert held(sender, ACK) == list(range(1, 21))
    assert sender.kept.size_bytes <= 60 * one
    assert telemetry[0] == 1
    newest = telemetry[-10:]
    assert newest == list(range(231, 241)), "the newest are whole"
    gaps = [b - a for a, b in pairwise(telemetry)]
    assert gaps == sorted(gaps, reverse=True), "the older, the thinner"
    assert sender.kept.thinned == 250 - len(telemetry)
    sender.kept.close()


def held(sender: Sender, topic: Topic) -> list[int]:
    rows = sender.kept._connection.execute(
        "SELECT seq FROM sent JOIN stream ON stream.id = stream WHERE topic = ? ORDER BY seq", (str(topic),)
    )
    return [seq for (seq,) in rows]


def test_what_is_never_given_up_may_exceed_the_bound_and_is_not_searched_each_time(tmp_path: Path) -> None:
    sender = Sender(tmp_path / "sent.sqlite", most_bytes=1000)
    sender.send(ACK, Keep.ALWAYS, 50)
    assert (sender.kept.count, sender.kept.thinned) == (50, 0)
    sender.send(METER, count=4)
    sender.send(ACK, Keep.ALWAYS, 10)
    assert held(sender, ACK) == list(range(1, 61))
    sender.kept.close()


@pytest.mark.parametrize(
    ("channel", "body", "keep"),
    [
        (Channel.TELEMETRY, MeterTelemetry(power_kw=1.0), Keep.THINNED),
        (Channel.METRIC, Metric(values={}), Keep.DROPPED),
        (Channel.ALARM, Alarm(code="x", severity=Severity.INFO, text="x"), Keep.ALWAYS),
        (Channel.ACK, Ack(id="s1", epoch=1, accepted=True), Keep.ALWAYS),
        (Channel.DONE, Done(n=1, phase=Phase.SENSE, announced=()), None),
        (Channel.RECEIPT, Receipt(stored=1, missing=0), None),
    ],
)
def test_how_a_message_is_kept_follows_from_its_channel(channel: Channel, body: Body, keep: Keep | None) -> None:
    assert keep_of(Outgoing(Topic("s", Kind.METER, "load", channel), body)) is keep


def test_a_telemetry_that_says_which_vehicle_departed_is_never_thinned() -> None:
    departed = DepartedVehicle(vehicle="car", arrival=T, left=T + timedelta(hours=1))
    body = ChargerTelemetry(power_kw=0.0, departed=(departed,))
    assert keep_of(Outgoing(Topic("s", Kind.CHARGER, "ev1", Channel.TELEMETRY), body)) is Keep.ALWAYS


def test_thinning_is_an_alarm_that_ends_when_there_is_room_again(tmp_path: Path) -> None:
    sender = Sender(tmp_path / "sent.sqlite", most_bytes=20 * (100 + ROW_BYTES))
    sender.send(METER, count=20)
    assert sender.kept.news() == []
    sender.send(METER)
    (begun,) = sender.kept.news()
    assert (begun.code, begun.active) == (THINNED, True)
    assert "5 messages were given up" in begun.text
    assert sender.kept.news() == []
    sender.receipt(METER, (1, 21))
    (over,) = sender.kept.news()
    assert (over.code, over.active) == (THINNED, False)
    sender.kept.close()


def test_a_disk_that_refuses_stops_nobody_and_is_an_alarm(sender: Sender) -> None:
    sender.send(METER)
    sender.kept._connection.execute("PRAGMA max_page_count=1")  # SQLite's own "disk is full"
    sender.send(METER, count=200)
    (begun,) = sender.kept.news()
    assert (begun.code, begun.active) == (NOT_KEPT, True)
    assert "full" in begun.text
    count = sender.kept.count
    assert count < 200
    sender.kept._connection.execute("PRAGMA max_page_count=100000")
    sender.send(METER)
    assert [(a.code, a.active) for a in sender.kept.news()] == [(NOT_KEPT, False)]
    assert sender.kept.count == count + 1


@pytest.mark.parametrize("content", [b"no database", b"x" * 5000])
def test_a_file_of_something_else_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sent.sqlite"
    path.write_bytes(content)
    with raises(LocalStateError.usual_code, str(path), "cannot be opened to keep", kind=LocalStateError):
        KeptMessages(path)
    assert path.stat().st_size == len(content)
