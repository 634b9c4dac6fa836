"""OCPP 1.6J: the charge point's side."""

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ocpp.routing import after, on
from ocpp.v16 import ChargePoint, call, call_result
from ocpp.v16.enums import Action

from services.ocpp.clocks import stamp
from services.ocpp.profiles import utc_now
from services.outward.ocpp.points import ANSWER_S, MODEL, VENDOR
from services.outward.ocpp.session import Sample, Transaction

if TYPE_CHECKING:
    from services.outward.ocpp.face import OcppFace

LOG = logging.getLogger(__name__)
WIRE = logging.getLogger("services.outward.ocpp.wire")
WIRE.setLevel(logging.CRITICAL)
_KEYS: Mapping[str, str] = {"MeterValueSampleInterval": "interval_s", "ClockAlignedDataInterval": "aligned_s"}
_FIXED: Mapping[str, str] = {
    "ChargingScheduleAllowedChargingRateUnit": "Current,Power",
    "ChargeProfileMaxStackLevel": "100",
    "ChargingScheduleMaxPeriods": "1000",
    "MaxChargingProfilesInstalled": "1000",
    "NumberOfConnectors": "1",
    "SupportedFeatureProfiles": "Core,SmartCharging,RemoteTrigger",
}


class Point16(ChargePoint):  # type: ignore[misc]
    def __init__(self, identity: str, connection: Any, face: "OcppFace") -> None:
        super().__init__(identity, connection, ANSWER_S, WIRE)
        self._face = face

    # ---- what it says

    async def boot(self) -> float:
        while True:
            request = call.BootNotification(charge_point_model=MODEL, charge_point_vendor=VENDOR)
            answer = await self.call(request, suppress=False)
            if answer.status == "Accepted":
                return float(answer.interval or 300)
            LOG.warning("the central system says %s", answer.status)
            await asyncio.sleep(answer.interval or 10)

    async def beat(self) -> None:
        await self.call(call.Heartbeat())

    async def status(self, status: str, face: "OcppFace") -> None:
        await self.call(call.StatusNotification(1, "NoError", status, timestamp=stamp(utc_now())))

    async def begin(self, transaction: Transaction, sample: Sample, *, offline: bool) -> None:
        if not offline:
            answer = await self.call(call.Authorize(id_tag=transaction.token), suppress=False)
            transaction.refused = answer.id_tag_info["status"] != "Accepted"
        if transaction.refused:
            transaction.number = "0"
            self._face.refuse(transaction)
            return
        wh = round(transaction.begin_kwh * 1000)
        request = call.StartTransaction(1, transaction.token, wh, stamp(transaction.begun))
        answer = await self.call(request, suppress=False)
        transaction.number = str(answer.transaction_id)
        if answer.id_tag_info["status"] != "Accepted":
            self._face.refuse(transaction)

    async def meter(self, transaction: Transaction | None, sample: Sample, context: str, *, offline: bool) -> None:
        if transaction is not None and transaction.refused:
            return
        number = None if transaction is None or transaction.number is None else int(transaction.number)
        await self.call(call.MeterValues(1, sample.of_16(context), number))

    async def end(self, transaction: Transaction, sample: Sample, reason: str, *, offline: bool) -> None:
        if transaction.refused or transaction.number is None:
            return
        wh = round(sample.import_kwh * 1000)
        request = call.StopTransaction(
            meter_stop=wh, timestamp=stamp(sample.at), transaction_id=int(transaction.number), reason=reason
        )
        await self.call(request)

    # ---- what is asked of it

    @on(Action.set_charging_profile)
    def on_profile(self, connector_id: int, cs_charging_profiles: dict[str, Any]) -> Any:
        accepted = self._face.accepts(cs_charging_profiles)
        return call_result.SetChargingProfile("Accepted" if accepted else "Rejected")

    @on(Action.clear_charging_profile)
    def on_clear(self, **asked: Any) -> Any:
        found = self._face.clear(asked.get("id"), asked.get("charging_profile_purpose"), asked.get("stack_level"))
        return call_result.ClearChargingProfile("Accepted" if found else "Unknown")

    @on(Action.get_composite_schedule)
    def on_composite(self, connector_id: int, duration: int, **asked: Any) -> Any:
        schedule = self._face.composite(duration, asked.get("charging_rate_unit"))
        return call_result.GetCompositeSchedule("Accepted", connector_id, stamp(utc_now()), schedule)

    @on(Action.get_configuration)
    def on_get(self, key: list[str] | None = None) -> Any:
        switches = {"ConnectorSwitch3to1PhaseSupported": str(self._face.rated.switches_phases).lower()}
        values = {**_FIXED, **switches, **{name: str(self._face.configuration[own]) for name, own in _KEYS.items()}}
        known = [
            {"key": name, "readonly": name not in _KEYS, "value": value}
            for name, value in values.items()
            if not key or name in key
        ]
        return call_result.GetConfiguration(known, [name for name in key or [] if name not in values])

    @on(Action.change_configuration)
    def on_change(self, key: str, value: str) -> Any:
        if key in ("MeterValuesSampledData", "MeterValuesAlignedData"):
            return call_result.ChangeConfiguration("Accepted")  # all of them are sent
        if key not in _KEYS:
            return call_result.ChangeConfiguration("Rejected" if key in _FIXED else "NotSupported")
        if not value.isdecimal():
            return call_result.ChangeConfiguration("Rejected")
        self._face.configuration[_KEYS[key]] = int(value)
        return call_result.ChangeConfiguration("Accepted")

    @on(Action.trigger_message)
    def on_trigger(self, requested_message: str, **asked: Any) -> Any:
        known = requested_message in ("StatusNotification", "MeterValues", "Heartbeat")
        return call_result.TriggerMessage("Accepted" if known else "NotImplemented")

    @after(Action.trigger_message)
    async def after_trigger(self, requested_message: str, **asked: Any) -> None:
        await triggered(self, self._face, requested_message)

    @on(Action.remote_start_transaction)
    def on_remote_start(self, id_tag: str, **asked: Any) -> Any:
        if profile := asked.get("charging_profile"):
            self._face.accept(profile)
        return call_result.RemoteStartTransaction("Accepted" if self._face.start(id_tag) else "Rejected")

    @on(Action.remote_stop_transaction)
    def on_remote_stop(self, transaction_id: int) -> Any:
        stopped = self._face.stop_asked(str(transaction_id))
        return call_result.RemoteStopTransaction("Accepted" if stopped else "Rejected")


async def triggered(point: Any, face: "OcppFace", what: str) -> None:
    """Sends what the central system has asked for."""
    if what == "StatusNotification":
        await point.status(face.status, face)
    elif what == "Heartbeat":
        await point.beat()
    elif what in ("MeterValues", "TransactionEvent") and (shown := face.shown) is not None:
        face.meter(shown, utc_now(), "Trigger")
