"""What a device has published, as it was heard, and what can be judged of it without asking the device anything."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from schemas.clauses import Clause
from schemas.messages import Birth, Body, Stamp, Telemetry
from schemas.presence import STALE_PERIODS, ahead_bound_s, behind_bound_s
from schemas.topics import Topic
from services.conformance.verdicts import Verdicts

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Heard:
    """One message of the device. ``at``: the run's time as it arrived; ``fault``: why it is not of the contract."""

    topic: Topic
    payload: bytes
    retained: bool
    at: datetime
    stamp: Stamp | None = None
    body: Body | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """A telemetry: ``ts`` by the device's clock, arrived at the run's time ``at``."""

    ts: datetime
    at: datetime
    boot: str
    seq: int
    body: Telemetry


Span = tuple[datetime, datetime]


def samples_of(heard: Iterable[Heard]) -> Iterator[Sample]:
    """Live telemetry, each once."""
    seen: set[tuple[str, int]] = set()
    for each in heard:
        if isinstance(each.body, Telemetry) and each.stamp is not None and not each.retained:
            key = (each.stamp.boot, each.stamp.seq)
            if key not in seen:
                seen.add(key)
                yield Sample(each.stamp.ts, each.at, each.stamp.boot, each.stamp.seq, each.body)


def in_order(samples: Sequence[Sample]) -> list[Sample]:
    """As they were sent: what waited for a connection may arrive after what did not."""
    lives = {boot: place for place, boot in enumerate(dict.fromkeys(sample.boot for sample in samples))}
    return sorted(samples, key=lambda sample: (lives[sample.boot], sample.seq))


def judge_messages(heard: Sequence[Heard], run: str, verdicts: Verdicts) -> None:
    """Content, numbering, identity and run of all that the device has published since it joined."""
    known: dict[tuple[str, str, int], bytes] = {}
    numbers: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    begun_before: set[tuple[str, str]] = set()
    boots_of_other_runs = {e.stamp.boot for e in heard if e.stamp is not None and e.stamp.run not in (None, run)}
    for each in heard:
        if each.stamp is None:
            verdicts.fail(Clause.CONTENT, each.fault or f"{each.topic}: cannot be read")
            continue
        verdicts.hold(Clause.CONTENT)
        boot, seq, topic = each.stamp.boot, each.stamp.seq, str(each.topic)
        if each.stamp.run == run:
            lived = f"{topic}: boot {boot} lived in another run before" if boot in boots_of_other_runs else None
            verdicts.judge(Clause.RUN, lived)
        if seq == 0:
            continue  # a last will
        before = known.setdefault((boot, topic, seq), each.payload)
        other = None if before == each.payload else f"{topic}: seq {seq} of boot {boot} came with other bytes"
        verdicts.judge(Clause.IDENTITY, other)
        numbers[boot, topic].add(seq)
        if each.retained or boot in boots_of_other_runs or each.stamp.run is None:
            begun_before.add((boot, topic))
    for (boot, topic), found in numbers.items():
        first = min(found) if (boot, topic) in begun_before else 1
        gaps = sorted(set(range(first, max(found))) - found)
        named = ", ".join(str(seq) for seq in gaps[:10])
        verdicts.judge(Clause.NUMBERING, f"{topic}: seq {named} of boot {boot} did not come" if gaps else None)


def judge_run(heard: Sequence[Heard], run: str, verdicts: Verdicts) -> None:
    """``heard``: what came after the device was seen to be in the run."""
    for each in heard:
        if each.stamp is not None and not each.retained and each.stamp.seq > 0:
            other = each.stamp.run not in (None, run)
            verdicts.judge(
                Clause.RUN, f"{each.topic}: is of run {each.stamp.run}, and {run} goes on" if other else None
            )


def judge_telemetry(
    samples: Sequence[Sample], birth: Birth, pace: float, slack_s: float, away: Sequence[Span], verdicts: Verdicts
) -> None:
    """Period and clock. ``slack_s``: in the run's time; ``away``: when the connection was cut."""
    period_s = birth.telemetry_period_s or 0.0
    for one, two in pairwise(in_order(samples)):
        if _overlaps(one.ts, two.ts, away) or one.boot != two.boot:
            continue
        gap_s = (two.ts - one.ts) / SECOND
        most_s = STALE_PERIODS * period_s + slack_s
        verdicts.judge(
            Clause.CLOCK, f"telemetry of {two.ts:%H:%M:%S.%f} came after {one.ts:%H:%M:%S.%f}" if gap_s < 0 else None
        )
        if period_s:
            late = f"{gap_s:.1f} s from one telemetry to the next; the period is {period_s:g} s"
            verdicts.judge(Clause.PERIOD, late if gap_s > most_s else None)
    for sample in samples:
        if _overlaps(sample.ts, sample.at, away):
            continue  # it may have waited for the connection
        behind_s = (sample.at - sample.ts) / SECOND
        wrong = behind_s > behind_bound_s(pace) or behind_s < -ahead_bound_s(pace)
        verdicts.judge(
            Clause.CLOCK, f"ts {sample.ts.isoformat()} arrived {behind_s:.0f} s after it by the run" if wrong else None
        )


def _overlaps(begin: datetime, end: datetime, spans: Sequence[Span]) -> bool:
    return any(begin <= until and end >= since for since, until in spans)
