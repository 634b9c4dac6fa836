"""OCPP 1.6J: the central system's side of a charge point."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from ocpp.routing import after, on
from ocpp.v16 import ChargePoint, call, call_result
from ocpp.v16.enums import Action, AuthorizationStatus, DataTransferStatus, RegistrationStatus

from services.drivers.ocpp.link import IN_TRANSACTION, OcppLink
from services.drivers.ocpp.station import HEARTBEAT_S, REACH_S, ProfileOrder, RefusedError, Station
from services.ocpp import readings
from services.ocpp.clocks import stamp
from services.ocpp.limits import to_kw

BASELINE_ID, SETPOINT_ID = 1000, 2000
"""Of charging profiles, plus the connector."""
_MEASURANDS = (
    f"{readings.POWER},{readings.ENERGY},{readings.CURRENT},{readings.VOLTAGE},{readings.SOC}",
    f"{readings.POWER},{readings.ENERGY},{readings.SOC}",
    f"{readings.POWER},{readings.ENERGY}",
    readings.ENERGY,
)
"""From the most to the least; a charge point takes a list as a whole or not at all."""
_RATE_UNITS = "ChargingScheduleAllowedChargingRateUnit"
_SWITCHES = "ConnectorSwitch3to1PhaseSupported"
"""Whether it switches from three phases to one during a transaction."""


class Station16(Station, ChargePoint):  # type: ignore[misc]
    PURPOSES: ClassVar[Mapping[str, str]] = {
        "tx": "TxProfile",
        "tx_default": "TxDefaultProfile",
        "charge_point_max": "ChargePointMaxProfile",
    }

    # ---- what it says

    @on(Action.boot_notification)
    def on_boot(self, **said: Any) -> Any:
        return call_result.BootNotification(stamp(datetime.now(UTC)), HEARTBEAT_S, RegistrationStatus.accepted)

    @after(Action.boot_notification)
    def after_boot(self, **said: Any) -> None:
        self.booted()

    @on(Action.heartbeat)
    def on_heartbeat(self, **said: Any) -> Any:
        return call_result.Heartbeat(stamp(datetime.now(UTC)))

    @on(Action.authorize)
    def on_authorize(self, id_tag: str, **said: Any) -> Any:
        return call_result.Authorize(self._id_tag_info(id_tag))

    def _id_tag_info(self, id_tag: object) -> Any:
        return {"status": AuthorizationStatus.accepted if self.allows(id_tag) else AuthorizationStatus.invalid}

    @on(Action.status_notification, skip_schema_validation=True)
    def on_status(self, connector_id: int = 0, status: str = "", error_code: str = "", **said: Any) -> Any:
        link = self.link_of(connector_id)
        if link is not None:
            link.has_status(status, error_code)
            if status == "Preparing" and link.driver.start_id_tag is not None and link.transaction is None:
                self._start(("begin", link), self._begin(link, link.driver.start_id_tag))
        elif connector_id == 0:
            bad = status in ("Faulted", "Unavailable")
            self.trouble("station", f"the charge point is {status}, {error_code}" if bad else None)
        return call_result.StatusNotification()

    async def _begin(self, link: OcppLink, id_tag: str) -> None:
        try:
            answer = await self.ask(call.RemoteStartTransaction(id_tag=id_tag, connector_id=link.driver.connector))
            refused = None if answer.status == "Accepted" else f"it refused to start a transaction: {answer.status}"
        except RefusedError as error:
            refused = str(error)
        link.trouble("start", refused)

    @on(Action.start_transaction)
    def on_start(self, connector_id: int, id_tag: str, meter_start: int, timestamp: str, **said: Any) -> Any:
        number = self._transactions.number_of((self.id, connector_id, id_tag, meter_start, timestamp))
        link = self.link_of(connector_id)
        if link is not None:
            self.energy(link, meter_start, timestamp)
            # One that has been ended since, too, is handed in later: its end follows in the queue.
            link.begins(str(number))
        return call_result.StartTransaction(number, self._id_tag_info(id_tag))

    @on(Action.stop_transaction, skip_schema_validation=True)
    def on_stop(self, transaction_id: int = 0, meter_stop: Any = None, timestamp: Any = None, **said: Any) -> Any:
        link = self._link_in(transaction_id)
        if link is not None:
            if said.get("transaction_data"):
                self.metered(link, said["transaction_data"], queued=True)
            self.energy(link, meter_stop, timestamp)
            link.ends(str(transaction_id))
        return call_result.StopTransaction()

    def _link_in(self, transaction_id: object) -> OcppLink | None:
        """Who has this transaction; a charge point with one connector has no other."""
        links = list(self._outlets)
        found = [link for link in links if link.transaction == str(transaction_id)]
        return found[0] if found else (links[0] if len(links) == 1 else None)

    @on(Action.meter_values, skip_schema_validation=True)
    def on_meter_values(self, connector_id: int = 0, meter_value: Any = None, **said: Any) -> Any:
        link = self.link_of(connector_id)
        if link is not None:
            self.metered(link, meter_value)
            number = said.get("transaction_id")
            # One that began while we were away. A value of a transaction that is over comes from a queue.
            if number is not None and link.transaction is None and link.status in IN_TRANSACTION:
                link.begins(str(number))
        return call_result.MeterValues()

    @on(Action.data_transfer)
    def on_data(self, **said: Any) -> Any:
        return call_result.DataTransfer(DataTransferStatus.unknown_vendor_id)

    @on(Action.firmware_status_notification)
    def on_firmware(self, **said: Any) -> Any:
        return call_result.FirmwareStatusNotification()

    @on(Action.diagnostics_status_notification)
    def on_diagnostics(self, **said: Any) -> Any:
        return call_result.DiagnosticsStatusNotification()

    @on(Action.security_event_notification)
    def on_security(self, **said: Any) -> Any:
        return call_result.SecurityEventNotification()

    # ---- what is asked of it

    async def _knows_watts(self) -> bool:
        return "Power" in str(await self._configuration_of(_RATE_UNITS) or "")

    async def _switches_phases(self) -> bool | None:
        said = str(await self._configuration_of(_SWITCHES) or "").lower()
        return said == "true" if said else None

    async def _configuration_of(self, key: str) -> object:
        answer = await self.ask(call.GetConfiguration(key=[key]))
        return {each.get("key"): each.get("value") for each in answer.configuration_key or []}.get(key)

    async def _configure(self) -> None:
        drivers = [link.driver for link in self._outlets]
        await self._change("MeterValueSampleInterval", str(min(driver.sample_s for driver in drivers)))
        if aligned := [driver.clock_aligned_s for driver in drivers if driver.clock_aligned_s]:
            await self._change("ClockAlignedDataInterval", str(min(aligned)))
            await self._measure("MeterValuesAlignedData")
        await self._measure("MeterValuesSampledData")

    async def _measure(self, key: str) -> None:
        for measurands in _MEASURANDS:
            if await self._change(key, measurands):
                return

    async def _change(self, key: str, value: str) -> bool:
        try:
            answer = await self.ask(call.ChangeConfiguration(key=key, value=value))
        except RefusedError:
            return False
        return answer.status in ("Accepted", "RebootRequired")

    async def _set_profile(self, link: OcppLink, order: ProfileOrder) -> None:
        connector = link.driver.connector
        period: dict[str, Any] = {"start_period": 0, "limit": order.limit, **self._number_phases(link, order.phases)}
        schedule: dict[str, Any] = {"charging_rate_unit": order.unit, "charging_schedule_period": [period]}
        profile: dict[str, Any] = {
            "charging_profile_id": (BASELINE_ID if order.baseline else SETPOINT_ID) + connector,
            "stack_level": 0 if order.baseline else 1,
            "charging_profile_purpose": order.purpose,
            "charging_profile_kind": "Relative" if order.baseline else "Absolute",
            "charging_schedule": schedule,
        }
        if not order.baseline:
            begin = self._clock.its_time(datetime.now(UTC)) - timedelta(seconds=REACH_S)
            schedule["start_schedule"] = stamp(begin)
            if order.for_s is not None:
                schedule["duration"] = math.ceil(order.for_s + REACH_S)
        if order.purpose == "TxProfile":
            assert link.transaction is not None
            profile["transaction_id"] = int(link.transaction)
        where = 0 if order.purpose == "ChargePointMaxProfile" else connector
        answer = await self.ask(call.SetChargingProfile(connector_id=where, cs_charging_profiles=profile))
        if answer.status != "Accepted":
            raise RefusedError(f"SetChargingProfile with a {order.purpose}: {answer.status}")

    async def _composite(self, link: OcppLink, phases: int) -> tuple[float | None, int | None]:
        answer = await self.ask(call.GetCompositeSchedule(connector_id=link.driver.connector, duration=60))
        if answer.status != "Accepted" or not answer.charging_schedule:
            return None, None
        schedule = answer.charging_schedule
        period = schedule["charging_schedule_period"][0]
        found = period.get("number_phases")
        unit, volts = schedule["charging_rate_unit"], link.rated.voltage_v
        return to_kw(float(period["limit"]), unit, found or phases, volts), found

    async def _trigger(self, link: OcppLink, what: str) -> None:
        await self.ask(call.TriggerMessage(requested_message=what, connector_id=link.driver.connector))
