"""Whether a site is well, by what is heard of it on its broker: a finding for each subject, each with its reason.

It judges `services.monitor.discovery.Roster`; there is no second model. Bounds are those of `schemas.presence`, by
which the participants themselves go.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from schemas.kinds import COMMANDED_KINDS, DEVICE_KINDS
from schemas.messages import EmsMode, MeterNameplate, MeterRole, Plan, PlanStatus, Presence, Run, Severity, TimeMode
from schemas.presence import REVOKED, SKEW_S
from schemas.topics import RETAINED, Kind
from services.monitor.discovery import Roster, Seen

PLAN_LATE_S = 60.0
"""Machine time after a settlement period's begin by which its plan is there, the solver's time included."""
LAG_S = 10.0
"""Machine time that the recorder may be behind what is measured."""
RETAINED_KIB = 64.0
"""Of a device; its birth and state have a few. Series and plans of services have up to 512."""
SERVICES = frozenset({Kind.EMS, Kind.RECORDER, Kind.CLOCK})
"""A run in wall time is not complete without these."""


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """Something to look at; the site works."""
    FAULT = "fault"
    """Something does not work."""
    UNKNOWN = "unknown"
    """It could not be found out, and why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``site`` None: it is not of one site."""

    subject: str
    verdict: Verdict
    text: str
    site: str | None = None


@dataclass(frozen=True, slots=True)
class _Site:
    """One site of the roster at a moment."""

    roster: Roster
    site: str
    now: datetime
    waited_s: float
    run_id: str | None
    run: Run

    @property
    def members(self) -> list[Seen]:
        """Who has shown itself in this run."""
        return [seen for seen in self.roster if seen.site == self.site and seen.takes_part(self.run_id)]

    @property
    def in_wall_time(self) -> bool:
        return self.run.mode is TimeMode.WALL

    @property
    def plan(self) -> Plan | None:
        return self.roster.plans.get(self.site)

    def of_kind(self, kind: Kind) -> Seen | None:
        return next((seen for seen in self.members if seen.kind is kind), None)

    def find(self, subject: str, verdict: Verdict, text: str) -> Finding:
        return Finding(subject, verdict, text, self.site)


def diagnose(roster: Roster, now: datetime, waited_s: float) -> list[Finding]:
    """Everything that was heard within ``waited_s``, judged at machine time ``now``."""
    sites = sorted({seen.site for seen in roster} | set(roster.runs))
    if not sites:
        return [Finding("site", Verdict.FAULT, "nobody is on this broker, or nothing of it may be read")]
    found: list[Finding] = []
    for site in sites:
        run_id, run = roster.runs.get(site, (None, None))
        if run is None or run.ended is not None:
            ended = "no run was opened" if run is None else f"run {run_id} ended at {run.ended:%Y-%m-%d %H:%M:%S} UTC"
            found.append(Finding("run", Verdict.WARNING, f"{ended}: nobody is expected to send anything", site))
            found += _versions(roster, site)
            continue
        kind = "simulated" if run.simulated else "real"
        found.append(Finding("run", Verdict.OK, f"{run_id}, {run.mode}, {kind}, in progress", site))
        about = _Site(roster, site, now, waited_s, run_id, run)
        for check in _CHECKS:
            found += check(about)
        found += _versions(roster, site)
    if roster.rejected:
        text = f"{roster.rejected} messages that are not of the contract came while listening"
        found.append(Finding("messages", Verdict.WARNING, text))
    return found


def _presence(about: _Site) -> Iterator[Finding]:
    """Silent members, faults, goodbyes, and who is missing altogether."""
    heard, trouble = 0, 0
    for seen in about.members:
        finding = _presence_of(about, seen)
        heard += finding is None
        if finding is not None:
            trouble += 1
            yield finding
    if about.in_wall_time:
        for kind in sorted(SERVICES - {seen.kind for seen in about.members}):
            trouble += 1
            yield about.find(kind, Verdict.FAULT, f"no {kind} has shown itself in this run")
    if not trouble:
        yield about.find("participants", Verdict.OK, f"{heard} are online, and none is silent")


def _presence_of(about: _Site, seen: Seen) -> Finding | None:
    """None: it is there."""
    state = seen.state
    assert state is not None
    if state.state is Presence.ONLINE:
        return _silence_of(about, seen)
    because = f": {state.reason}" if state.reason else ""
    if state.state is Presence.FAULT:
        return about.find(seen.device, Verdict.FAULT, f"has failed{because}")
    lost = state.reason not in (None, "", REVOKED) or seen.kind in SERVICES
    return about.find(seen.device, Verdict.FAULT if lost else Verdict.WARNING, f"is offline{because}")


def _silence_of(about: _Site, seen: Seen) -> Finding | None:
    """Of one that is online: its connection may stand although it is stopped."""
    expected_s = seen.expected_s(about.run) if about.in_wall_time else None
    if seen.arrived is not None or expected_s is None:
        return None
    if about.waited_s >= expected_s + 1.0:
        text = f"online but silent: nothing came for {about.waited_s:.0f} s, something is due every {expected_s:g} s"
        return about.find(seen.device, Verdict.FAULT, text)
    known = about.roster.known(seen)
    if known is not None:
        silent = not known.in_plan
        return about.find(seen.device, Verdict.FAULT, f"by the EMS: {known.why_not}") if silent else None
    text = f"sends something in {expected_s:g} s, which is longer than was listened: --wait {expected_s + 5:.0f} does"
    return about.find(seen.device, Verdict.UNKNOWN, text)


def _pcc(about: _Site) -> Iterator[Finding]:
    """Whether anybody measures at the PCC, where somebody commands."""
    plates = [seen.birth.nameplate for seen in about.members if seen.birth is not None]
    measured = any(isinstance(plate, MeterNameplate) and plate.role is MeterRole.PCC for plate in plates)
    if about.in_wall_time and about.of_kind(Kind.EMS) is not None and not measured:
        text = (
            "no meter with role pcc has shown itself in this run: the EMS estimates the load, and no day can be settled"
        )
        yield about.find("PCC", Verdict.WARNING, text)


def _clocks(about: _Site) -> Iterator[Finding]:
    """Skew of each sender's clock against this machine's."""
    if not about.in_wall_time:
        return
    right = []
    for seen in about.members:
        behind_s = about.roster.clock_behind_s(seen)
        if behind_s is not None:
            way = "behind" if behind_s > 0 else "ahead"
            text = f"the clock of {seen.device} is {abs(behind_s):.0f} s {way} of this machine's"
            yield about.find("clock skew", Verdict.FAULT, text)
        elif seen.lag_s is not None:
            right.append((abs(seen.lag_s) / about.run.pace, seen.device))
    if right:
        most_s, who = max(right)
        text = f"{len(right)} clocks agree with this machine's to {most_s:.1f} s ({who}); allowed are {SKEW_S:g} s"
        yield about.find("clock skew", Verdict.OK, text)
    else:
        yield about.find("clock skew", Verdict.UNKNOWN, "nothing with a time came while listening")


def _plan(about: _Site) -> Iterator[Finding]:
    """Age and origin of the EMS' newest plan."""
    plan, ems = about.plan, about.of_kind(Kind.EMS)
    if ems is None:
        return
    if plan is None:
        yield about.find("plan", Verdict.FAULT, f"{ems.device} has published none")
        return
    solved = {
        PlanStatus.OPTIMAL: Verdict.OK,
        PlanStatus.INCUMBENT: Verdict.OK,
        PlanStatus.PREVIOUS: Verdict.WARNING,
        PlanStatus.SAFE_RULE: Verdict.FAULT,
    }[plan.status]
    because = f": {plan.reason}" if plan.reason else ""
    text = f"{plan.status}, mode {plan.mode}{because}"
    if about.in_wall_time:
        age_s = (about.run.time_at(about.now) - plan.start).total_seconds()
        late_s = plan.step_s + PLAN_LATE_S * about.run.pace
        text = f"{age_s / 60:.0f} min old, {text}"
        if age_s > late_s:
            what = f"of {plan.start:%H:%M:%S} UTC, {text}; a settlement period has {plan.step_s / 60:g} min"
            yield about.find("plan", Verdict.FAULT, what)
            return
    if plan.mode is EmsMode.HOLD:
        solved = Verdict.WARNING
    yield about.find("plan", solved, text)


def _fallbacks(about: _Site) -> Iterator[Finding]:
    """Who follows its fallback, and why."""
    plan = about.plan
    devices = [seen for seen in about.members if seen.kind in COMMANDED_KINDS]
    if plan is None:
        if devices:
            names = ", ".join(seen.device for seen in devices)
            yield about.find("fallback", Verdict.WARNING, f"{names}: there is no plan")
        return
    for mode, verb in ((EmsMode.OBSERVE, "observes"), (EmsMode.HOLD, "is on hold")):
        if plan.mode is mode:
            text = f"every device: the EMS {verb} and commands nobody"
            yield about.find("fallback", Verdict.OK if mode is EmsMode.OBSERVE else Verdict.WARNING, text)
            return
    reasons = [(seen.device, why) for seen in devices if (why := _why_fallback(about, plan, seen)) is not None]
    for device, why in reasons:
        yield about.find("fallback", Verdict.WARNING, f"{device}: {why}")
    if not reasons:
        yield about.find("fallback", Verdict.OK, "nobody: every device that can be commanded has a set-point")


def _why_fallback(about: _Site, plan: Plan, seen: Seen) -> str | None:
    known, part = about.roster.known(seen), plan.devices.get(seen.device)
    if plan.status is PlanStatus.SAFE_RULE:
        return plan.reason or "there is no usable plan"
    if part is not None and part.left_to_fallback is not None:
        return part.left_to_fallback
    if known is not None and not known.in_plan:
        return known.why_not
    return None if part is not None else "it is not in the newest plan"


def _recorder(about: _Site) -> Iterator[Finding]:
    """Lag, gaps and dead letters of the recorder, and the disk that it writes to."""
    recorder = about.of_kind(Kind.RECORDER)
    if recorder is None or not about.in_wall_time:
        return
    values = recorder.metrics
    if not values:
        yield about.find("recorder", Verdict.UNKNOWN, "no metric of it came while listening")
        return
    lag_s = values.get("lag_s")
    missing, letters = values.get("missing", 0.0), values.get("dead_letters", 0.0)
    stored = values.get("stored", 0.0)
    parts = [f"{stored:.0f} messages stored", f"{missing:.0f} missing", f"{letters:.0f} dead letters"]
    if lag_s is not None:
        parts.insert(0, f"{max(lag_s, 0.0):.1f} s behind what is measured")
    late = lag_s is not None and lag_s > LAG_S
    yield about.find("recorder", Verdict.WARNING if late or missing else Verdict.OK, ", ".join(parts))
    if (free := values.get("disk_free_mib")) is not None:
        low = values.get("disk_low_mib", 0.0)
        text = f"{free / 1024:.1f} GiB free where the recorder writes, alarm below {low / 1024:.1f} GiB"
        yield about.find("disk of the history", Verdict.FAULT if free < low else Verdict.OK, text)


def _dropped(about: _Site) -> Iterator[Finding]:
    """Messages that the broker gave up for somebody, as the clock has heard."""
    clock = about.of_kind(Kind.CLOCK)
    count = None if clock is None else clock.metrics.get("broker_dropped")
    if count is None:
        return
    if count:
        text = (
            f"{count:.0f} messages dropped since the broker started, for a client that is stuck, or was away for too "
            "long; the broker's log names it"
        )
        yield about.find("broker queues", Verdict.WARNING, text)
    else:
        yield about.find("broker queues", Verdict.OK, "the broker has dropped nothing since it started")


def _retained(about: _Site) -> Iterator[Finding]:
    """Who has more retained at the broker than the contract lets it: it is sent to everybody who comes."""
    for (site, kind, device), kept in about.roster.kept_at_broker.items():
        wrong = sorted(channel for channel in kept if channel not in RETAINED)
        total_kib = sum(kept.values()) / 1024
        if site != about.site or not (wrong or (kind in DEVICE_KINDS and total_kib > RETAINED_KIB)):
            continue
        what = f"{device} has {total_kib:.0f} KiB retained on {len(kept)} channels"
        more = f"; by the contract nothing of {', '.join(wrong)} is" if wrong else ""
        yield about.find(
            "retained", Verdict.WARNING, f"{what}{more}. An empty retained message in its name takes each away"
        )


def _messages(about: _Site) -> Iterator[Finding]:
    """Messages that were ignored."""
    named = [(who, reject) for (site, who, _), reject in about.roster.rejects.items() if site == about.site]
    for who, reject in named:
        yield about.find("rejects", Verdict.WARNING, f"{who} ignored a message on {reject.topic}: {reject.reason}")
    counted = {seen.device: seen.metrics.get("rejected", 0.0) for seen in about.members if seen.metrics}
    told = ", ".join(f"{who} {count:.0f}" for who, count in counted.items() if count)
    if told:
        yield about.find("rejects", Verdict.WARNING, f"not of the contract, since the processes started: {told}")
    elif counted and not named:
        yield about.find("rejects", Verdict.OK, f"none, by the counts of {', '.join(counted)}")


def _doubts(about: _Site) -> Iterator[Finding]:
    doubts = [text for site, text in about.roster.doubts() if site == about.site]
    for text in doubts:
        yield about.find("plausibility", Verdict.WARNING, f"not acted on: {text}")
    if not doubts:
        yield about.find("plausibility", Verdict.OK, "nothing is doubtful")


def _alarms(about: _Site) -> Iterator[Finding]:
    """Alarms that were raised while listening; they are not retained, the history has them all."""
    for (site, sender, code, _), alarm in about.roster.alarms.items():
        if site == about.site:
            verdict = Verdict.FAULT if alarm.severity is Severity.CRITICAL else Verdict.WARNING
            yield about.find("alarm", verdict, f"{code}, by {sender}: {alarm.text}")


def _versions(roster: Roster, site: str) -> list[Finding]:
    """Software of everybody; several versions of the same program are worth a look."""
    software = [seen.birth.software for seen in roster if seen.site == site and seen.birth is not None]
    if not software:
        return []
    programs = {one.rpartition(" ")[0] for one in software}
    named = sorted(set(software))
    text = ", ".join(f"{one} ({software.count(one)})" for one in named)
    return [Finding("versions", Verdict.OK if len(programs) == len(named) else Verdict.WARNING, text, site)]


_CHECKS: tuple[Callable[[_Site], Iterator[Finding]], ...] = (
    _presence,
    _pcc,
    _clocks,
    _plan,
    _fallbacks,
    _recorder,
    _dropped,
    _retained,
    _messages,
    _doubts,
    _alarms,
)


def certificate(subject: str, ends: datetime, now: datetime, soon: timedelta) -> Finding:
    """A certificate's expiry; ``soon``: from so long before it on it is a warning."""
    left = ends - now
    text = f"valid until {ends:%Y-%m-%d}, {left.days} more days"
    if left <= timedelta():
        return Finding(subject, Verdict.FAULT, f"expired on {ends:%Y-%m-%d %H:%M} UTC")
    return Finding(subject, Verdict.WARNING if left <= soon else Verdict.OK, text)


def disk(subject: str, free_bytes: int, low_bytes: int) -> Finding:
    """Free space of a disk that is looked at from here."""
    text = f"{free_bytes / 2**30:.1f} GiB free, wanted are {low_bytes / 2**30:.1f} GiB"
    return Finding(subject, Verdict.FAULT if free_bytes < low_bytes else Verdict.OK, text)
