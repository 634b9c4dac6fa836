"""Two processes of one identity: each takes the connection from the other, and the operator is told."""

import itertools

from schemas.messages import Alarm, ChargerTelemetry
from tests.faults.live import Live


def test_two_processes_of_one_identity_are_an_alarm_that_names_both_and_do_not_fight_in_a_tight_loop(
    live: Live,
) -> None:
    live.start()
    live.until("the charger", ChargerTelemetry)
    first = live.heard[-1][1].boot
    live.processes["the first"] = live.processes["ev1"]
    live.start()
    begin = len(live.heard)
    alarm = live.until("the alarm", Alarm, lambda alarm: alarm.code == "identity_contested")
    assert alarm.device == "ev1"
    assert first in alarm.text
    boots = [stamp.boot for _, stamp, body in live.heard[begin:] if isinstance(body, ChargerTelemetry)]
    changes = sum(one != other for one, other in itertools.pairwise(boots))
    assert changes <= 20
    for name in ("the first", "ev1"):
        assert live.processes[name].poll() is None
    live.processes["the first"].kill()
    live.processes["the first"].wait(10)
    live.until("the second alone", ChargerTelemetry, lambda told: live.heard[-1][1].boot != first)


def test_a_process_that_is_started_again_contests_nothing(live: Live) -> None:
    for _ in range(2):
        process = live.start()
        live.until("the charger", ChargerTelemetry)
        live.until("the charger", ChargerTelemetry)
        process.kill()
        process.wait(10)
    assert not [body for _, _, body in live.heard if isinstance(body, Alarm)]
