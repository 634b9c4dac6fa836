"""OCPP 2.0.1 and 2.1: the central system's side of a charging station. An EVSE is a connector here."""

import itertools
import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from ocpp import v21, v201
from ocpp.routing import after, on
from ocpp.v21 import call as call21
from ocpp.v21 import call_result as result21
from ocpp.v21.enums import Action
from ocpp.v201 import call as call201
from ocpp.v201 import call_result as result201

from services.drivers.ocpp.link import OcppLink
from services.drivers.ocpp.station import HEARTBEAT_S, REACH_S, ProfileOrder, RefusedError, Station
from services.ocpp import readings
from services.ocpp.clocks import stamp
from services.ocpp.limits import to_kw

BASELINE_ID, SETPOINT_ID = 1000, 2000
"""Of charging profiles, plus the EVSE."""
_STATES = {"EVConnected": "Preparing", "Idle": "Finishing"}
"""Charging states of a transaction by the names of OCPP 1.6; the others have the same."""
_MEASURANDS = (
    f"{readings.POWER},{readings.POWER_OUT},{readings.ENERGY},{readings.EXPORTED},{readings.SOC}",
    f"{readings.POWER},{readings.ENERGY},{readings.SOC}",
    f"{readings.POWER},{readings.ENERGY}",
    readings.ENERGY,
)
"""From the most to the least; a charging station takes a list as a whole or not at all."""
_start_ids = itertools.count(int(time.time()) % 1_000_000_000)


class Station2(Station):
    """What both versions have. ``CALL`` and ``RESULT`` are the library's modules of the version."""

    PURPOSES: ClassVar[Mapping[str, str]] = {
        "tx": "TxProfile",
        "tx_default": "TxDefaultProfile",
        "charge_point_max": "ChargingStationMaxProfile",
    }
    CALL: ClassVar[Any]
    RESULT: ClassVar[Any]

    # ---- what it says

    @on(Action.boot_notification)
    def on_boot(self, **said: Any) -> Any:
        return self.RESULT.BootNotification(
            current_time=stamp(datetime.now(UTC)), interval=HEARTBEAT_S, status="Accepted"
        )

    @after(Action.boot_notification)
    def after_boot(self, **said: Any) -> None:
        self.booted()

    @on(Action.heartbeat)
    def on_heartbeat(self, **said: Any) -> Any:
        return self.RESULT.Heartbeat(current_time=stamp(datetime.now(UTC)))

    @on(Action.authorize)
    def on_authorize(self, id_token: Mapping[str, Any], **said: Any) -> Any:
        return self.RESULT.Authorize(id_token_info=self._token_info(id_token))

    def _token_info(self, token: Mapping[str, Any]) -> dict[str, str]:
        return {"status": "Accepted" if self.allows(token.get("id_token")) else "Invalid"}

    @on(Action.status_notification, skip_schema_validation=True)
    def on_status(self, evse_id: int = 0, connector_status: str = "", **said: Any) -> Any:
        link = self.link_of(evse_id)
        if link is not None:
            if connector_status == "Occupied" and link.transaction is not None:
                link.say(plugged=True)  # its charging state says more
            else:
                link.has_status(connector_status, None)
            if connector_status == "Occupied" and link.driver.start_id_tag is not None and link.transaction is None:
                self._start(("begin", link), self._begin(link, link.driver.start_id_tag))
        return self.RESULT.StatusNotification()

    @on(Action.transaction_event, skip_schema_validation=True)
    def on_transaction(self, event_type: str = "", transaction_info: Any = None, evse: Any = None, **said: Any) -> Any:
        info = transaction_info if isinstance(transaction_info, Mapping) else {}
        number = info.get("transaction_id")
        link = self.link_of(evse.get("id", 0)) if isinstance(evse, Mapping) else self._link_in(number)
        if link is not None and isinstance(number, str):
            self._event(link, event_type, number, info, said)
        else:
            self.misunderstood(f"a transaction event of no EVSE of this site: {str(evse)[:60]}, {str(number)[:40]}")
        token = said.get("id_token")
        return self.RESULT.TransactionEvent(
            id_token_info=self._token_info(token) if isinstance(token, Mapping) else None
        )

    def _event(self, link: OcppLink, event: str, number: str, info: Mapping[str, Any], said: Mapping[str, Any]) -> None:
        if said.get("meter_value") is not None:
            self.metered(link, said["meter_value"], queued=said.get("offline") is True)
        if event == "Ended":
            link.ends(number)
            return
        if link.transaction != number:
            link.begins(number)
            self._transaction_begins(link)
        state = info.get("charging_state")
        if isinstance(state, str):
            link.has_status(_STATES.get(state, state), None)

    def _transaction_begins(self, link: OcppLink) -> None:
        """For who has more to say of it."""

    def _link_in(self, transaction: object) -> OcppLink | None:
        """Who has this transaction; a station with one EVSE has no other."""
        links = list(self._outlets)
        found = [link for link in links if link.transaction == transaction]
        return found[0] if found else (links[0] if len(links) == 1 else None)

    @on(Action.meter_values, skip_schema_validation=True)
    def on_meter_values(self, evse_id: int = 0, meter_value: Any = None, **said: Any) -> Any:
        link = self.link_of(evse_id)
        if link is not None:
            self.metered(link, meter_value)
        return self.RESULT.MeterValues()

    @on(Action.notify_event)
    def on_event(self, **said: Any) -> Any:
        return self.RESULT.NotifyEvent()

    @on(Action.notify_report)
    def on_report(self, **said: Any) -> Any:
        return self.RESULT.NotifyReport()

    @on(Action.security_event_notification)
    def on_security(self, **said: Any) -> Any:
        return self.RESULT.SecurityEventNotification()

    @on(Action.firmware_status_notification)
    def on_firmware(self, **said: Any) -> Any:
        return self.RESULT.FirmwareStatusNotification()

    @on(Action.log_status_notification)
    def on_log(self, **said: Any) -> Any:
        return self.RESULT.LogStatusNotification()

    @on(Action.notify_charging_limit)
    def on_limit(self, **said: Any) -> Any:
        return self.RESULT.NotifyChargingLimit()

    @on(Action.cleared_charging_limit)
    def on_limit_gone(self, **said: Any) -> Any:
        return self.RESULT.ClearedChargingLimit()

    @on(Action.report_charging_profiles)
    def on_profiles(self, **said: Any) -> Any:
        return self.RESULT.ReportChargingProfiles()

    @on(Action.notify_ev_charging_needs)
    def on_needs(self, **said: Any) -> Any:
        # The limit comes by a profile of its own; there is no schedule to be negotiated.
        return self.RESULT.NotifyEVChargingNeeds(status="Accepted")

    @on(Action.notify_ev_charging_schedule)
    def on_schedule(self, **said: Any) -> Any:
        return self.RESULT.NotifyEVChargingSchedule(status="Accepted")

    @on(Action.data_transfer)
    def on_data(self, **said: Any) -> Any:
        return self.RESULT.DataTransfer(status="UnknownVendorId")

    # ---- what is asked of it

    async def _begin(self, link: OcppLink, id_tag: str) -> None:
        request = self.CALL.RequestStartTransaction(
            id_token={"id_token": id_tag, "type": "ISO14443"},
            remote_start_id=next(_start_ids),
            evse_id=link.driver.connector,
        )
        try:
            answer = await self.ask(request)
            refused = None if answer.status == "Accepted" else f"it refused to start a transaction: {answer.status}"
        except RefusedError as error:
            refused = str(error)
        link.trouble("start", refused)

    async def _knows_watts(self) -> bool:
        return "W" in (await self._variable("RateUnit")).replace(" ", "").split(",")

    async def _switches_phases(self) -> bool | None:
        said = (await self._variable("Phases3to1")).lower()
        return said == "true" if said else None

    async def _variable(self, name: str) -> str:
        """Of the smart charging controller; empty: it is not known there."""
        wanted = {"component": {"name": "SmartChargingCtrlr"}, "variable": {"name": name}}
        answer = await self.ask(self.CALL.GetVariables(get_variable_data=[wanted]))
        return str(answer.get_variable_result[0].get("attribute_value", ""))

    async def _configure(self) -> None:
        drivers = [link.driver for link in self._outlets]
        await self._change("SampledDataCtrlr", "TxUpdatedInterval", str(min(each.sample_s for each in drivers)))
        await self._measure("SampledDataCtrlr", "TxUpdatedMeasurands")
        if aligned := [each.clock_aligned_s for each in drivers if each.clock_aligned_s]:
            await self._change("AlignedDataCtrlr", "Interval", str(min(aligned)))
            await self._measure("AlignedDataCtrlr", "Measurands")

    async def _measure(self, component: str, variable: str) -> None:
        with_phases = f"{_MEASURANDS[0]},{readings.CURRENT}"
        by_phase = any(link.rated.switches_phases for link in self._outlets)
        for measurands in (with_phases, *_MEASURANDS) if by_phase else _MEASURANDS:
            if await self._change(component, variable, measurands):
                return

    async def _change(self, component: str, variable: str, value: str) -> bool:
        wanted = {"attribute_value": value, "component": {"name": component}, "variable": {"name": variable}}
        try:
            answer = await self.ask(self.CALL.SetVariables(set_variable_data=[wanted]))
        except RefusedError:
            return False
        return answer.set_variable_result[0].get("attribute_status") in ("Accepted", "RebootRequired")

    def _period(self, link: OcppLink, order: ProfileOrder) -> dict[str, Any]:
        period: dict[str, Any] = {"start_period": 0, "limit": order.limit, **self._number_phases(link, order.phases)}
        if order.phases == 1 and link.rated.alone is not None:
            period["phase_to_use"] = link.rated.alone
        return period

    async def _set_profile(self, link: OcppLink, order: ProfileOrder) -> None:
        evse = link.driver.connector
        schedule: dict[str, Any] = {
            "id": (BASELINE_ID if order.baseline else SETPOINT_ID) + evse,
            "charging_rate_unit": order.unit,
            "charging_schedule_period": [self._period(link, order)],
        }
        profile: dict[str, Any] = {
            "id": schedule["id"],
            "stack_level": 0 if order.baseline else 1,
            "charging_profile_purpose": order.purpose,
            "charging_profile_kind": "Relative" if order.baseline else "Absolute",
            "charging_schedule": [schedule],
        }
        if not order.baseline:
            begin = self._clock.its_time(datetime.now(UTC)) - timedelta(seconds=REACH_S)
            schedule["start_schedule"] = stamp(begin)
            if order.for_s is not None:
                schedule["duration"] = math.ceil(order.for_s + REACH_S)
        if order.purpose == "TxProfile":
            profile["transaction_id"] = link.transaction
        where = 0 if order.purpose == "ChargingStationMaxProfile" else evse
        answer = await self.ask(self.CALL.SetChargingProfile(evse_id=where, charging_profile=profile))
        if answer.status != "Accepted":
            raise RefusedError(f"SetChargingProfile with a {order.purpose}: {answer.status}")

    async def _composite(self, link: OcppLink, phases: int) -> tuple[float | None, int | None]:
        answer = await self.ask(self.CALL.GetCompositeSchedule(duration=60, evse_id=link.driver.connector))
        if answer.status != "Accepted" or not answer.schedule:
            return None, None
        period = answer.schedule["charging_schedule_period"][0]
        limit = period.get("setpoint", period.get("limit"))
        if limit is None:
            return None, None
        unit, found = answer.schedule["charging_rate_unit"], period.get("number_phases")
        return to_kw(float(limit), unit, found or phases, link.rated.voltage_v), found

    async def _trigger(self, link: OcppLink, what: str) -> None:
        evse: dict[str, int] = {"id": link.driver.connector}
        if what == "StatusNotification":
            evse["connector_id"] = 1
        await self.ask(self.CALL.TriggerMessage(requested_message=what, evse=evse))


class Station201(Station2, v201.ChargePoint):  # type: ignore[misc]
    """A charging station of OCPP 2.0.1; it can only charge."""

    CALL, RESULT = call201, result201


class Station21(Station2, v21.ChargePoint):  # type: ignore[misc]
    """A charging station of OCPP 2.1. One that may discharge follows a central set-point (V2X)."""

    CALL, RESULT = call21, result21

    def _transaction_begins(self, link: OcppLink) -> None:
        if link.rated.max_discharge_kw > 0:
            self._start(("allow", link), self._allow(link))

    async def _allow(self, link: OcppLink) -> None:
        """What the vehicle may negotiate: energy both ways."""
        modes = ["DC_BPT", "AC_BPT", "DC", "AC_three_phase" if link.rated.phases == 3 else "AC_single_phase"]
        request = self.CALL.NotifyAllowedEnergyTransfer(transaction_id=link.transaction, allowed_energy_transfer=modes)
        try:
            answer = await self.ask(request)
            refused = None if answer.status == "Accepted" else f"it refused to discharge: {answer.status}"
        except RefusedError as error:
            refused = str(error)
        link.trouble("transfer", refused)

    def _period(self, link: OcppLink, order: ProfileOrder) -> dict[str, Any]:
        if order.baseline or link.rated.max_discharge_kw == 0:
            return super()._period(link, order)
        return {"start_period": 0, "operation_mode": "CentralSetpoint", "setpoint": order.limit}
