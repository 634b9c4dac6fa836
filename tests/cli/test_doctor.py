"""doctor: what is judged, by messages; and the command against a broker with certificates."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.transport import Delivery
from schemas.messages import (
    Alarm,
    Birth,
    Body,
    ChargerNameplate,
    ChargerTelemetry,
    DevicePlan,
    EmsMode,
    KnownDevice,
    MeterNameplate,
    MeterRole,
    Metric,
    Plan,
    PlanStatus,
    Presence,
    Reject,
    Run,
    ServiceNameplate,
    Severity,
    Stamp,
    State,
    TimeMode,
)
from schemas.presence import REVOKED
from schemas.topics import Channel, Kind, Topic
from schemas.wire import encode
from services.monitor.discovery import Roster
from services.monitor.health import Finding, Verdict, certificate, diagnose, disk
from tests.cli.calling import call
from tests.provision.conftest import shared
from tests.provision.secured import Secured

__all__ = ["shared"]

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
RUN = "20260101T110000.000000Z-5f0c"
T0 = NOW - timedelta(minutes=50)
WAITED_S = 20.0


def _plan(**changed: object) -> Plan:
    values = {
        "epoch": 1,
        "mode": EmsMode.CONTROL,
        "status": PlanStatus.OPTIMAL,
        "start": NOW - timedelta(minutes=5),
        "step_s": 900,
        "objective_eur": 0.0,
        "devices": {"ev1": DevicePlan(power_kw=(3.0,))},
        "knowledge": {"ev1": KnownDevice(power_kw=3.0, age_s=2.0, in_plan=True)},
    }
    return Plan(**(values | changed))


class Lab:
    """A site that is well: clock, recorder, EMS, a charger and a meter in a real run, all heard while listening."""

    def __init__(self, role: MeterRole = MeterRole.PCC) -> None:
        self.roster = Roster()
        self._seq = 0
        run = Run(mode=TimeMode.WALL, step_s=900, t0=T0, wall0=T0, simulated=False)
        self.say(Kind.CLOCK, "clock", run, retained=True)
        for kind in (Kind.CLOCK, Kind.RECORDER, Kind.EMS):
            self.be_born(kind, str(kind))
        self.say(Kind.EMS, "ems", _plan(), retained=True)
        nameplate = ChargerNameplate(
            max_charge_kw=22.0, max_discharge_kw=0.0, charge_efficiency=0.95, discharge_efficiency=0.95
        )
        birth = Birth(nameplate=nameplate, time_modes=(TimeMode.WALL,), software="acme 3.1", telemetry_period_s=10.0)
        self.say(Kind.CHARGER, "ev1", birth, retained=True)
        self.say(Kind.CHARGER, "ev1", State(state=Presence.ONLINE), retained=True)
        meter = Birth(nameplate=MeterNameplate(role=role), time_modes=(TimeMode.WALL,), software="acme 3.1")
        self.say(Kind.METER, "main", meter, retained=True)
        self.say(Kind.METER, "main", State(state=Presence.ONLINE), retained=True)

    def be_born(self, kind: Kind, name: str, software: str = "twinswarm 0.1.0") -> None:
        birth = Birth(nameplate=ServiceNameplate(), time_modes=(TimeMode.WALL,), software=software, heartbeat_s=15.0)
        self.say(kind, name, birth, retained=True)
        self.say(kind, name, State(state=Presence.ONLINE), retained=True)

    def say(
        self, kind: Kind, device: str, body: Body, *, retained: bool = False, ts: datetime = NOW, run: str | None = RUN
    ) -> None:
        self._seq += 1
        channel = CHANNELS[type(body)]
        topic, stamp = Topic("lab", kind, device, channel), Stamp(ts=ts, run=run, boot="b", seq=self._seq)
        self.roster.note(Delivery(str(topic), encode(stamp, body), retained), NOW)

    def beat(self, *services: Kind) -> "Lab":
        for kind in services:
            values = {"rejected": 0.0, "lag_s": 0.4, "stored": 9.0, "missing": 0.0, "disk_free_mib": 5000.0}
            self.say(kind, str(kind), Metric(values=values | {"disk_low_mib": 1024.0}))
        return self

    def charge(self, **changed: object) -> "Lab":
        self.say(Kind.CHARGER, "ev1", ChargerTelemetry(power_kw=3.0), **changed)  # type: ignore[arg-type]
        return self

    def findings(self, waited_s: float = WAITED_S) -> list[Finding]:
        return diagnose(self.roster, NOW, waited_s)

    def not_ok(self, waited_s: float = WAITED_S) -> list[tuple[str, str, str]]:
        return [(f.subject, str(f.verdict), f.text) for f in self.findings(waited_s) if f.verdict is not Verdict.OK]


CHANNELS = {
    Run: Channel.RUN,
    Birth: Channel.BIRTH,
    State: Channel.STATE,
    Plan: Channel.PLAN,
    Metric: Channel.METRIC,
    ChargerTelemetry: Channel.TELEMETRY,
    Alarm: Channel.ALARM,
    Reject: Channel.REJECT,
}
SERVICES = (Kind.CLOCK, Kind.RECORDER, Kind.EMS)


def well() -> Lab:
    return Lab().beat(*SERVICES).charge()


def test_a_site_that_is_well_has_a_line_for_each_subject_and_nothing_to_say() -> None:
    lab = well()
    assert lab.not_ok() == []
    subjects = [finding.subject for finding in lab.findings()]
    assert subjects == [
        *("run", "participants", "clock skew", "plan", "fallback", "recorder"),
        *("disk of the history", "rejects", "plausibility", "versions"),
    ]
    texts = {finding.subject: finding.text for finding in lab.findings()}
    assert texts["recorder"] == "0.4 s behind what is measured, 9 messages stored, 0 missing, 0 dead letters"
    assert texts["versions"] == "acme 3.1 (2), twinswarm 0.1.0 (3)"
    assert texts["plan"] == "5 min old, optimal, mode control"


def test_a_site_that_nobody_measures_at_the_pcc_is_told() -> None:
    lab = Lab(MeterRole.LOAD).beat(*SERVICES).charge()
    text = "no meter with role pcc has shown itself in this run: the EMS estimates the load, and no day can be settled"
    assert lab.not_ok() == [("PCC", "warning", text)]


def test_listening_ends_once_everybody_was_heard() -> None:
    lab = Lab()
    assert not lab.roster.heard_all()
    lab.beat(*SERVICES)
    assert not lab.roster.heard_all()
    assert lab.charge().roster.heard_all()


def test_a_service_whose_connection_stands_but_that_is_silent_is_a_fault() -> None:
    lab = Lab().beat(Kind.CLOCK, Kind.RECORDER).charge()
    assert lab.not_ok() == [
        ("ems", "fault", "online but silent: nothing came for 20 s, something is due every 15 s"),
    ]


def test_who_could_not_have_been_heard_yet_is_unknown_and_the_ems_may_know() -> None:
    lab = Lab().beat(*SERVICES)
    assert lab.not_ok(5.0) == [], "by the plan it is heard"
    without = Lab()
    without.say(Kind.EMS, "ems", _plan(knowledge={}), retained=True)
    subjects = {(subject, verdict) for subject, verdict, _ in without.not_ok(5.0)}
    assert {(name, "unknown") for name in ("clock", "ems", "ev1", "recorder")} <= subjects
    why = "no telemetry of ev1 for 310 s, allowed are 30 s"
    lab.say(Kind.EMS, "ems", _plan(knowledge={"ev1": KnownDevice(in_plan=False, why_not=why)}), retained=True)
    assert ("ev1", "fault", f"by the EMS: {why}") in lab.not_ok(5.0)
    assert ("fallback", "warning", f"ev1: {why}") in lab.not_ok(5.0)


def _failed(lab: Lab) -> None:
    lab.say(Kind.EMS, "ems", State(state=Presence.FAULT, reason="ValueError: no"))


def _lost(lab: Lab) -> None:
    lab.say(Kind.CHARGER, "ev1", State(state=Presence.OFFLINE, reason="connection lost"))


def _revoked(lab: Lab) -> None:
    lab.say(Kind.CHARGER, "ev1", State(state=Presence.OFFLINE, reason=REVOKED))


def _left(lab: Lab) -> None:
    lab.say(Kind.CHARGER, "ev1", State(state=Presence.OFFLINE))


def _clock_is_ahead(lab: Lab) -> None:
    lab.charge(ts=NOW + timedelta(hours=1))


def _old_plan(lab: Lab) -> None:
    lab.say(Kind.EMS, "ems", _plan(start=NOW - timedelta(minutes=40)))


def _safe_rule(lab: Lab) -> None:
    lab.say(Kind.EMS, "ems", _plan(status=PlanStatus.SAFE_RULE, reason="no price", devices={}))


def _left_to_fallback(lab: Lab) -> None:
    part = DevicePlan(power_kw=(3.0,), left_to_fallback="its departure is not known")
    lab.say(Kind.EMS, "ems", _plan(devices={"ev1": part}))


def _gaps(lab: Lab) -> None:
    lab.say(Kind.RECORDER, "recorder", Metric(values={"missing": 7.0}))


def _late(lab: Lab) -> None:
    lab.say(Kind.RECORDER, "recorder", Metric(values={"lag_s": 31.0}))


def _disk(lab: Lab) -> None:
    lab.say(Kind.RECORDER, "recorder", Metric(values={"disk_free_mib": 512.0}))


def _ignored(lab: Lab) -> None:
    lab.say(Kind.EMS, "ems", Reject(topic="twin/v2/lab/charger/ev1/telemetry", reason="power_kw: is missing"))
    lab.say(Kind.EMS, "ems", Metric(values={"rejected": 3.0}))


def _doubt(lab: Lab) -> None:
    lab.say(Kind.EMS, "ems", _plan(doubts=("power of ev1: 900 kW",)))


def _alarm(lab: Lab) -> None:
    body = Alarm(code="service_silent", severity=Severity.CRITICAL, device="ems", text="the ems ems is silent")
    lab.say(Kind.RECORDER, "recorder", body)


def _versions(lab: Lab) -> None:
    lab.be_born(Kind.EMS, "ems", "twinswarm 0.2.0")


@pytest.mark.parametrize(
    ("trouble", "subject", "verdict", "words"),
    [
        (_failed, "ems", "fault", "has failed: ValueError: no"),
        (_lost, "ev1", "fault", "is offline: connection lost"),
        (_left, "ev1", "warning", "is offline"),
        (_revoked, "ev1", "warning", "is offline: its certificate was revoked"),
        (_old_plan, "plan", "fault", "40 min old"),
        (_safe_rule, "plan", "fault", "safe_rule, mode control: no price"),
        (_safe_rule, "fallback", "warning", "ev1: no price"),
        (_left_to_fallback, "fallback", "warning", "ev1: its departure is not known"),
        (_gaps, "recorder", "warning", "7 missing"),
        (_late, "recorder", "warning", "31.0 s behind"),
        (_disk, "disk of the history", "fault", "0.5 GiB free"),
        (_ignored, "rejects", "warning", "ems ignored a message on twin/v2/lab/charger/ev1/telemetry: power_kw"),
        (_ignored, "rejects", "warning", "since the processes started: ems 3"),
        (_doubt, "plausibility", "warning", "power of ev1: 900 kW"),
        (_alarm, "alarm", "fault", "service_silent, by recorder: the ems ems is silent"),
        (_versions, "versions", "warning", "twinswarm 0.2.0 (1)"),
    ],
)
def test_a_trouble_is_named_with_its_reason(
    trouble: Callable[[Lab], None], subject: str, verdict: str, words: str
) -> None:
    lab = well()
    trouble(lab)
    assert any(s == subject and v == verdict and words in text for s, v, text in lab.not_ok()), lab.not_ok()


def test_a_wrong_clock_is_a_fault_with_its_skew() -> None:
    lab = Lab().beat(*SERVICES)
    _clock_is_ahead(lab)
    assert ("clock skew", "fault", "the clock of ev1 is 3600 s ahead of this machine's") in lab.not_ok()


def test_a_run_without_an_ems_or_a_recorder_is_not_complete() -> None:
    roster = Roster()
    lab = Lab()
    lab.roster = roster
    lab.say(Kind.CLOCK, "clock", Run(mode=TimeMode.WALL, step_s=900, t0=T0, wall0=T0), retained=True)
    assert {(s, v) for s, v, _ in lab.not_ok()} >= {("ems", "fault"), ("recorder", "fault"), ("clock", "fault")}


def test_an_alarm_that_ended_while_listening_is_none() -> None:
    lab = well()
    _alarm(lab)
    over = Alarm(code="service_silent", severity=Severity.CRITICAL, device="ems", active=False, text="over")
    lab.say(Kind.RECORDER, "recorder", over)
    assert lab.not_ok() == []


def test_who_took_part_in_another_run_only_is_not_missed() -> None:
    lab = well()
    state = State(state=Presence.OFFLINE, reason="connection lost")
    lab.say(Kind.TARIFF, "tariff", state, retained=True, run="20250101T110000.000000Z-0000")
    assert lab.not_ok() == []


def test_after_a_run_nobody_is_expected() -> None:
    lab = Lab()
    lab.say(Kind.CLOCK, "clock", Run(mode=TimeMode.WALL, step_s=900, t0=T0, wall0=T0, ended=NOW), retained=True)
    assert [(s, v) for s, v, _ in lab.not_ok()] == [("run", "warning")]


def test_an_empty_broker_is_a_fault() -> None:
    assert [(f.subject, f.verdict) for f in diagnose(Roster(), NOW, 3.0)] == [("site", Verdict.FAULT)]


@pytest.mark.parametrize(
    ("left", "verdict"), [(-1, Verdict.FAULT), (10, Verdict.WARNING), (31, Verdict.OK)], ids=["over", "soon", "far"]
)
def test_expiry_of_a_certificate(left: int, verdict: Verdict) -> None:
    found = certificate("certificate", NOW + timedelta(days=left), NOW, timedelta(days=30))
    assert found.verdict is verdict


def test_a_disk_below_the_limit_is_a_fault() -> None:
    assert disk("disk", 2**30 - 1, 2**30).verdict is Verdict.FAULT
    assert disk("disk", 2**30, 2**30).verdict is Verdict.OK


# ---- the command


def test_with_certificates_it_says_until_when_they_are_valid_and_how_full_the_disks_are(
    shared: Secured, tmp_path: Path
) -> None:
    proof = shared.folder.credentials("observer")
    options = (
        "--cafile",
        proof.cafile,
        "--cert",
        proof.cert,
        "--key",
        proof.key,
        "--history",
        f"sqlite:{tmp_path}/h.sqlite",
    )
    address = f"mqtts://localhost:{shared.address.port}"
    done = call("doctor", "--broker", address, *options, "--wait", "2", "--json", "-", cwd=tmp_path)  # type: ignore[arg-type]
    found = {f["subject"]: f for f in json.loads(done.stdout)["findings"]}
    for whose in ("the broker", "authority", "this client"):
        assert found[f"certificate of {whose}"]["verdict"] == "ok"
        assert "valid until" in found[f"certificate of {whose}"]["text"]
    assert found["broker"]["text"].startswith("answers the certificate observer.crt")
    free_gib = shutil.disk_usage(tmp_path).free / 2**30
    assert abs(float(found[f"disk of {tmp_path / 'h.sqlite'}"]["text"].split()[0]) - free_gib) < 1
    assert done.returncode == 1, "nobody is on it"


def test_a_broker_that_is_away_is_a_line_of_the_table_and_exit_code_1(tmp_path: Path) -> None:
    done = call("doctor", "--broker", "mqtt://127.0.0.1:9", cwd=tmp_path)
    assert done.returncode == 1
    assert "no broker answers there" in done.stdout
    assert done.stderr == ""


def test_a_place_that_is_not_there_is_wrong_input(tmp_path: Path) -> None:
    place = tmp_path / "gone" / "state"
    done = call("doctor", "--broker", "mqtt://127.0.0.1:9", "--checkpoints", place, cwd=tmp_path)
    assert done.returncode == 2
    assert "--checkpoints: cannot be looked at" in done.stderr
