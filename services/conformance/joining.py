"""The device joins: its birth, its state, and telemetry that shows its period and its clock."""

from collections.abc import Callable
from itertools import pairwise

from schemas.clauses import Clause
from schemas.messages import Telemetry
from schemas.topics import Channel
from services.conformance.bench import Bench
from services.conformance.examined import Examined, state_text
from services.conformance.heard import SECOND, judge_telemetry
from services.conformance.verdicts import Verdicts
from services.conformance.wishes import Wishes


def join(bench: Bench, wishes: Wishes, verdicts: Verdicts, say: Callable[[str], None]) -> Examined | None:
    """Waits until it is in the run; None: nothing more can be judged, and the verdicts say why."""
    say("waiting for its birth, state and telemetry")

    def in_the_run() -> bool:
        last = next((each for each in reversed(bench.heard) if isinstance(each.body, Telemetry)), None)
        live = last is not None and last.stamp is not None and not last.retained
        return bool(live and last and last.stamp and last.stamp.run in (None, bench.run) and bench.here())

    joined = bench.until(in_the_run, wishes.join_s)
    birth = bench.birth
    if birth is None:
        faults = [each.fault for each in bench.heard if each.topic.channel is Channel.BIRTH and each.fault]
        verdicts.fail(Clause.BIRTH, faults[0] if faults else f"no birth within {wishes.join_s:g} s")
        return None
    verdicts.judge(Clause.STATE, None if bench.here() else state_text(bench))
    if not joined:
        if bench.here():
            verdicts.fail(Clause.PERIOD, f"no telemetry in the run within {wishes.join_s:g} s")
        return None
    heard = len(bench.heard)
    first = len(bench.samples)
    period_s = birth[1].telemetry_period_s
    if period_s is None:
        verdicts.fail(Clause.PERIOD, "its birth has no telemetry_period_s")
        return None
    allowed_s = bench.machine_s(3 * 3 * period_s) + wishes.patience_s
    if not bench.until(lambda: len(bench.samples) >= first + 3, allowed_s):
        verdicts.fail(Clause.PERIOD, f"no three telemetries within {allowed_s:.1f} s")
        return None
    newest = bench.samples[-3:]
    gaps = [(two.ts - one.ts) / SECOND for one, two in pairwise(newest)]
    judge_telemetry(newest, birth[1], bench.pace, wishes.slack_s * bench.pace, (), verdicts)
    if Clause.CLOCK in verdicts.failures:
        for clause in Clause:
            verdicts.skip(clause, "by a clock that is wrong nothing else can be judged")
        return None
    return Examined(
        bench, wishes, verdicts, say, birth[1].nameplate, period_s=min(max([*gaps, 0.05]), period_s), joined=heard
    )
