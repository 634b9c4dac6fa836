"""The course of an examination: set-points of every kind, one after the other, and what the device makes of them."""

import json
from collections.abc import Callable

from schemas.clauses import Clause
from schemas.topics import Channel
from services.conformance.bench import Bench
from services.conformance.broken_connection import break_connection
from services.conformance.commands import Commands
from services.conformance.examined import HOLD_PERIODS, Examined, state_text
from services.conformance.heard import judge_messages, judge_run, judge_telemetry
from services.conformance.joining import join
from services.conformance.proxy import CuttableWay
from services.conformance.registers import judge_registers
from services.conformance.trials import TRIALS
from services.conformance.verdicts import Verdicts
from services.conformance.wishes import Wishes


def conduct(bench: Bench, wishes: Wishes, way: CuttableWay | None, say: Callable[[str], None]) -> Verdicts:
    """Examines one device, once. ``way``: what it comes through; None: nothing about broken connections is judged.

    ``say`` shows progress.
    """
    verdicts = Verdicts()
    device = join(bench, wishes, verdicts, say)
    if device is None:
        return verdicts
    commands = _commanded(device)
    break_connection(device, commands, way)
    _judge_all_heard(device)
    _judge_what_is_retained(device)
    return verdicts


def _commanded(device: Examined) -> Commands | None:
    """Tries all set-points. None: it takes none, or its first one came to nothing."""
    if not device.plate.commanded:
        for clause in Clause:
            if clause.startswith("S") or clause is Clause.EXPIRY_ALONE:
                device.verdicts.skip(clause, "its nameplate takes no set-points")
        device.watch(HOLD_PERIODS * 2)
        return None
    commands = Commands(device)
    if not commands.begin():
        return None
    for trial in TRIALS:
        trial(device, commands)
    commands.judge_answers()
    return commands


def _judge_all_heard(device: Examined) -> None:
    bench, verdicts, birth = device.bench, device.verdicts, device.bench.birth
    assert birth is not None
    judge_messages(bench.heard, bench.run, verdicts)
    judge_run(bench.heard[device.joined :], bench.run, verdicts)
    judge_telemetry(bench.samples, birth[1], bench.pace, device.wishes.slack_s * bench.pace, device.away, verdicts)
    judge_registers(bench.samples, device.period_s, verdicts)


def _judge_what_is_retained(device: Examined) -> None:
    """Birth and state as who comes later finds them."""
    bench, verdicts = device.bench, device.verdicts
    birth = bench.birth
    assert birth is not None
    bench.listen_anew()
    kept: dict[Channel, bytes] = {}

    def both() -> bool:
        kept.update(
            {
                each.topic.channel: each.payload
                for each in bench.heard[begun:]
                if each.retained and each.topic.channel in (Channel.BIRTH, Channel.STATE)
            }
        )
        return len(kept) == 2

    begun = len(bench.heard)
    bench.until(both, device.wishes.patience_s)
    fault = None if Channel.BIRTH in kept else "its birth is not retained"
    if fault is None and json.loads(kept[Channel.BIRTH])["boot"] != birth[0].boot:
        fault = "the birth that is retained is of another life"
    verdicts.judge(Clause.BIRTH, fault)
    verdicts.judge(Clause.STATE, None if Channel.STATE in kept else "its state is not retained")
    if not bench.here() and Clause.BACK not in verdicts.failures:
        verdicts.fail(Clause.STATE, state_text(bench))
