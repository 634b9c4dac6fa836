"""OCPP 2.0.1 and 2.1: the charging station's side, with one EVSE."""

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ocpp import v21, v201
from ocpp.routing import after, on
from ocpp.v21 import call as call21
from ocpp.v21 import call_result as result21
from ocpp.v21.enums import Action
from ocpp.v201 import call as call201
from ocpp.v201 import call_result as result201

from services.ocpp.clocks import stamp
from services.ocpp.profiles import utc_now
from services.outward.ocpp.points import ANSWER_S, MODEL, VENDOR
from services.outward.ocpp.session import Sample, Transaction
from services.outward.ocpp.v16 import WIRE, triggered

if TYPE_CHECKING:
    from services.outward.ocpp.face import OcppFace

LOG = logging.getLogger(__name__)
_STATES: Mapping[str, str] = {"Preparing": "EVConnected", "Finishing": "EVConnected"}
"""Charging states by the names of OCPP 1.6; the others have the same."""
_VARIABLES: Mapping[tuple[str, str], str] = {
    ("SampledDataCtrlr", "TxUpdatedInterval"): "interval_s",
    ("AlignedDataCtrlr", "Interval"): "aligned_s",
}
_LISTS = {("SampledDataCtrlr", "TxUpdatedMeasurands"), ("AlignedDataCtrlr", "Measurands")}
_TRIGGERS: Mapping[str, str] = {
    "EVDisconnected": "EVCommunicationLost",
    "Remote": "RemoteStop",
    "DeAuthorized": "Deauthorized",
}
"""What ends a transaction, by its reason."""


class Point2:
    """What both versions have. ``CALL`` and ``RESULT`` are the library's modules of the version."""

    CALL: ClassVar[Any]
    RESULT: ClassVar[Any]
    call: Any

    def __init__(self, identity: str, connection: Any, face: "OcppFace") -> None:
        super().__init__(identity, connection, ANSWER_S, WIRE)  # type: ignore[call-arg]
        self._face = face
        self._state: str | None = None

    # ---- what it says

    async def boot(self) -> float:
        while True:
            station = {"model": MODEL, "vendor_name": VENDOR}
            request = self.CALL.BootNotification(charging_station=station, reason="PowerUp")
            answer = await self.call(request, suppress=False)
            if answer.status == "Accepted":
                return float(answer.interval or 300)
            LOG.warning("the central system says %s", answer.status)
            await asyncio.sleep(answer.interval or 10)

    async def beat(self) -> None:
        await self.call(self.CALL.Heartbeat())

    async def status(self, status: str, face: "OcppFace") -> None:
        plugged = status not in ("Available", "Unavailable")
        request = self.CALL.StatusNotification(
            timestamp=stamp(utc_now()),
            connector_status="Occupied" if plugged else status,
            evse_id=1,
            connector_id=1,
        )
        await self.call(request)
        transaction, shown = face.transaction, face.shown
        if transaction is not None and shown is not None and transaction.next_seq > 0:
            sample = Sample.of(shown, utc_now())
            state = {"charging_state": _STATES.get(status, status)}
            await self._event("Updated", "ChargingStateChanged", transaction, sample, "Other", False, **state)

    async def begin(self, transaction: Transaction, sample: Sample, *, offline: bool) -> None:
        transaction.number = transaction.own_number
        if not offline:
            token = {"id_token": transaction.token, "type": "Central"}
            answer = await self.call(self.CALL.Authorize(id_token=token), suppress=False)
            transaction.refused = answer.id_token_info["status"] != "Accepted"
        if transaction.refused:
            self._face.refuse(transaction)
            return
        answer = await self._event(
            "Started", "CablePluggedIn", transaction, sample, "Transaction.Begin", offline, charging_state="EVConnected"
        )
        info = None if answer is None else answer.id_token_info
        if info and info.get("status") != "Accepted":
            self._face.refuse(transaction)

    async def meter(self, transaction: Transaction | None, sample: Sample, context: str, *, offline: bool) -> None:
        if transaction is None:
            await self.call(self.CALL.MeterValues(evse_id=1, meter_value=sample.of_2(context)))
        elif not transaction.refused:
            reason = {"Sample.Clock": "MeterValueClock", "Trigger": "Trigger"}.get(context, "MeterValuePeriodic")
            await self._event("Updated", reason, transaction, sample, context, offline)

    async def end(self, transaction: Transaction, sample: Sample, reason: str, *, offline: bool) -> None:
        if not transaction.refused:
            await self._event(
                "Ended",
                _TRIGGERS[reason],
                transaction,
                sample,
                "Transaction.End",
                offline,
                stopped_reason=reason,
            )

    async def _event(
        self,
        kind: str,
        reason: str,
        transaction: Transaction,
        sample: Sample,
        context: str,
        offline: bool,
        **info: str,
    ) -> Any:
        token = {"id_token": transaction.token, "type": "Central"} if kind == "Started" else None
        return await self.call(
            self.CALL.TransactionEvent(
                event_type=kind,
                timestamp=stamp(sample.at),
                trigger_reason=reason,
                seq_no=transaction.seq(),
                transaction_info={"transaction_id": transaction.own_number, **info},
                meter_value=sample.of_2(context),
                offline=True if offline else None,
                evse={"id": 1, "connector_id": 1},
                id_token=token,
            )
        )

    # ---- what is asked of it

    @on(Action.set_charging_profile)
    def on_profile(self, evse_id: int, charging_profile: dict[str, Any], **asked: Any) -> Any:
        accepted = self._face.accepts(charging_profile)
        return self.RESULT.SetChargingProfile(status="Accepted" if accepted else "Rejected")

    @on(Action.clear_charging_profile)
    def on_clear(self, charging_profile_id: int | None = None, **asked: Any) -> Any:
        wanted = asked.get("charging_profile_criteria") or {}
        found = self._face.clear(charging_profile_id, wanted.get("charging_profile_purpose"), wanted.get("stack_level"))
        return self.RESULT.ClearChargingProfile(status="Accepted" if found else "Unknown")

    @on(Action.get_composite_schedule)
    def on_composite(self, duration: int, evse_id: int, **asked: Any) -> Any:
        schedule = {
            "evse_id": evse_id,
            "schedule_start": stamp(utc_now()),
            **self._face.composite(duration, asked.get("charging_rate_unit")),
        }
        return self.RESULT.GetCompositeSchedule(status="Accepted", schedule=schedule)

    @on(Action.get_variables)
    def on_get(self, get_variable_data: list[dict[str, Any]], **asked: Any) -> Any:
        return self.RESULT.GetVariables(get_variable_result=[self._got(each) for each in get_variable_data])

    def _got(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        place = (wanted["component"]["name"], wanted["variable"]["name"])
        own = _VARIABLES.get(place)
        smart_charging = {"RateUnit": "W,A", "Phases3to1": str(self._face.rated.switches_phases).lower()}
        value = smart_charging.get(place[1]) if place[0] == "SmartChargingCtrlr" else None
        if own is not None:
            value = str(self._face.configuration[own])
        answer = {"component": wanted["component"], "variable": wanted["variable"]}
        if value is None:
            return {**answer, "attribute_status": "UnknownVariable"}
        return {**answer, "attribute_status": "Accepted", "attribute_value": value}

    @on(Action.set_variables)
    def on_set(self, set_variable_data: list[dict[str, Any]], **asked: Any) -> Any:
        return self.RESULT.SetVariables(set_variable_result=[self._set(each) for each in set_variable_data])

    def _set(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        place, value = (wanted["component"]["name"], wanted["variable"]["name"]), wanted["attribute_value"]
        status = "Accepted" if place in _LISTS else "UnknownVariable"  # all measurands are sent
        if place in _VARIABLES:
            status = "Accepted" if value.isdecimal() else "Rejected"
            if status == "Accepted":
                self._face.configuration[_VARIABLES[place]] = int(value)
        return {"component": wanted["component"], "variable": wanted["variable"], "attribute_status": status}

    @on(Action.trigger_message)
    def on_trigger(self, requested_message: str, **asked: Any) -> Any:
        known = requested_message in ("StatusNotification", "MeterValues", "TransactionEvent", "Heartbeat")
        return self.RESULT.TriggerMessage(status="Accepted" if known else "NotImplemented")

    @after(Action.trigger_message)
    async def after_trigger(self, requested_message: str, **asked: Any) -> None:
        await triggered(self, self._face, requested_message)

    @on(Action.request_start_transaction)
    def on_remote_start(self, id_token: Mapping[str, Any], **asked: Any) -> Any:
        started = self._face.start(str(id_token["id_token"]))
        return self.RESULT.RequestStartTransaction(status="Accepted" if started else "Rejected")

    @on(Action.request_stop_transaction)
    def on_remote_stop(self, transaction_id: str, **asked: Any) -> Any:
        stopped = self._face.stop_asked(transaction_id)
        return self.RESULT.RequestStopTransaction(status="Accepted" if stopped else "Rejected")


class Point201(Point2, v201.ChargePoint):  # type: ignore[misc]
    """A charging station of OCPP 2.0.1."""

    CALL, RESULT = call201, result201


class Point21(Point2, v21.ChargePoint):  # type: ignore[misc]
    """A charging station of OCPP 2.1; a bidirectional one follows central set-points."""

    CALL, RESULT = call21, result21

    @on(Action.notify_allowed_energy_transfer)
    def on_allowed(self, **asked: Any) -> Any:
        both_ways = self._face.rated.max_discharge_kw > 0
        return self.RESULT.NotifyAllowedEnergyTransfer(status="Accepted" if both_ways else "Rejected")
