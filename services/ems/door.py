"""The door of the EMS: telemetry and series that cannot be true are not let in, and are named.

The rules are `schemas.plausibility`'s. A telemetry with an implausible power or SOC is left out, so that the device
counts as silent: it is planned with what it reported before as long as that is fresh, then it is not there. A register
that grew by more than can flow is taken off its telemetry; the rest of it is used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from schemas.messages import Alarm, Birth, Body, Nameplate, NetworkTelemetry, Series, Severity, Telemetry
from schemas.participant import Json, Received
from schemas.plausibility import PowerBounds, bounds_of
from schemas.plausibility import series_doubt as doubt_of_series
from schemas.register_reading import RegisterReading
from schemas.site import Site
from schemas.soc_trust import SocTrust, StorePlate
from schemas.topics import Channel

IMPLAUSIBLE = "implausible"
"""Code of the alarm."""


class Door:
    """Judges what comes in and remembers what is doubtful."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._plates: dict[str, Nameplate] = {}
        self._bounds: dict[str, PowerBounds | None] = {}
        self._readings: dict[str, RegisterReading] = {}
        self._socs: dict[str, SocTrust] = {}
        self._doubts: dict[str, tuple[str | None, str]] = {}
        """By subject: the device or None, and why it is doubtful."""
        self._told: dict[str, tuple[str | None, str]] = {}
        """Doubts that an alarm has named and not yet ended."""

    def admit(self, inbox: Sequence[Received]) -> list[Received]:
        """What may be acted on."""
        admitted = []
        for received in inbox:
            believed = self._believed_body(received)
            if believed is received.body:
                admitted.append(received)
            elif believed is not None:
                admitted.append(replace(received, body=believed))
        return admitted

    def _believed_body(self, received: Received) -> Body | None:
        """The part of a message that may be acted on; None: nothing of it."""
        topic, body = received.topic, received.body
        if topic.channel is Channel.BIRTH and isinstance(body, Birth):
            self._plates[topic.device] = body.nameplate
            self._bounds[topic.device] = bounds_of(body.nameplate, self._site)
        elif topic.channel is Channel.TELEMETRY and isinstance(body, Telemetry):
            return self._telemetry(received, body)
        elif topic.channel is Channel.SERIES and isinstance(body, Series):
            return self._series(f"{topic.kind}/{topic.device}", body)
        return body

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is not acted on at the moment, each with its reason; sorted."""
        return tuple(f"{subject}: {why}" for subject, (_, why) in sorted(self._doubts.items()))

    def alarms(self, old: Mapping[str, str]) -> list[Alarm]:
        """Alarms that begin or end. ``old``: series too old to be continued, and why."""
        for subject in [s for s in self._doubts if s.startswith("age of ") and s not in old]:
            del self._doubts[subject]
        self._doubts |= {subject: (None, why) for subject, why in old.items()}
        begun = [s for s in self._doubts if s not in self._told]
        over = [s for s in self._told if s not in self._doubts]
        messages = [_alarm(s, *self._told[s], active=False) for s in sorted(over)]
        messages += [_alarm(s, *self._doubts[s], active=True) for s in sorted(begun)]
        self._told = dict(self._doubts)
        return messages

    def _set(self, subject: str, device: str | None, why: str | None) -> None:
        if why is None:
            self._doubts.pop(subject, None)
        else:
            self._doubts.setdefault(subject, (device, why[:300]))

    def _telemetry(self, received: Received, body: Telemetry) -> Telemetry | None:
        device = received.topic.device
        bounds = self._bounds.get(device)
        power = None if bounds is None else bounds.doubt(body.power_kw)
        self._set(f"power of {device}", device, power)
        step = self._step(received, body, bounds)
        self._set(f"register of {device}", device, step)
        soc = self._soc(received, body)
        self._set(f"SOC of {device}", device, soc)
        if power is not None or soc is not None:
            return None
        if step is None:
            return body
        return body.model_copy(update={"energy_import_kwh": None, "energy_export_kwh": None})

    def _step(self, received: Received, body: Telemetry, bounds: PowerBounds | None) -> str | None:
        device, stamp = received.topic.device, received.stamp
        before = self._readings.get(device)
        missing = body.missing if isinstance(body, NetworkTelemetry) else ()
        now = (stamp.ts, stamp.boot, body.power_kw, body.energy_import_kwh, body.energy_export_kwh, missing)
        if before is None or before.boot != stamp.boot:
            self._readings[device] = RegisterReading.first(*now)
            return None
        if stamp.ts <= before.ts:
            return None
        reading = self._readings[device] = before.following(*now)
        if before.fell_until(reading):
            return None  # A reset: whoever compares registers sees it.
        return before.doubt_until(reading, bounds)

    def _soc(self, received: Received, body: Telemetry) -> str | None:
        device, stamp, soc_frac = received.topic.device, received.stamp, body.stored_frac
        plate = self._plates.get(device)
        if soc_frac is None or not isinstance(plate, StorePlate):
            return None
        return self._socs.setdefault(device, SocTrust()).doubt(stamp.boot, stamp.ts, soc_frac, plate)

    def _series(self, sender: str, body: Series) -> Series:
        believed = []
        for subject in [s for s in self._doubts if s.startswith(f"{sender}: ")]:
            del self._doubts[subject]
        for series in body.series:
            doubt = doubt_of_series(series, self._plates.get(series.device or ""), self._site)
            if doubt is None:
                believed.append(series)
            else:
                about = "" if series.device is None else f" of {series.device}"
                self._set(f"{sender}: {series.quantity}{about}", None, doubt)
        return body if len(believed) == len(body.series) else body.model_copy(update={"series": tuple(believed)})

    def snapshot(self) -> Json:
        return {
            "births": {name: plate.model_dump(mode="json") for name, plate in self._plates.items()},
            "readings": {name: reading.snapshot() for name, reading in self._readings.items()},
            "socs": {name: trust.snapshot() for name, trust in self._socs.items()},
            "doubts": {subject: list(doubt) for subject, doubt in self._doubts.items()},
            "told": {subject: list(doubt) for subject, doubt in self._told.items()},
        }

    def restore(self, state: Json) -> None:
        plates = {
            name: Birth.model_validate(
                {"nameplate": plate, "time_modes": ["lockstep"], "software": ""}, strict=False
            ).nameplate
            for name, plate in state["births"].items()
        }
        self._plates = plates
        self._bounds = {name: bounds_of(plate, self._site) for name, plate in plates.items()}
        self._readings = {name: RegisterReading.restored(reading) for name, reading in state["readings"].items()}
        self._socs = {name: SocTrust.restored(trust) for name, trust in state["socs"].items()}
        self._doubts = {subject: (device, why) for subject, (device, why) in state["doubts"].items()}
        self._told = {subject: (device, why) for subject, (device, why) in state["told"].items()}


def _alarm(subject: str, device: str | None, why: str, *, active: bool) -> Alarm:
    text = f"{subject}: {why}; it is recorded and not acted on"
    return Alarm(
        code=IMPLAUSIBLE,
        severity=Severity.WARNING,
        active=active,
        device=device,
        element=None if device else subject[:100],
        text=text[:500] if active else f"over: {subject}"[:500],
    )
