"""A central system on ocpp-csms of PyPI, in its own environment. Prints JSON lines; an order: "limit WATTS SECONDS"."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import Any

from ocpp.v16 import call
from ocpp_csms import CentralSystem


def say(**what: Any) -> None:
    print(json.dumps(what, default=str), flush=True)


async def main(port: int) -> None:
    async with CentralSystem(host="127.0.0.1", port=port) as system:
        system.add_listener(lambda event: say(event=type(event).__name__, what=str(event)))
        say(listening=system.port)
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            _, watts, seconds = line.split()
            (charger,) = system.charge_points.values()
            transaction = charger.get_transaction(1)
            schedule = {
                "start_schedule": datetime.now(UTC).isoformat(),
                "duration": int(seconds),
                "charging_rate_unit": "W",
                "charging_schedule_period": [{"start_period": 0, "limit": float(watts)}],
            }
            profile = {
                "charging_profile_id": 1,
                "transaction_id": transaction.transaction_id if transaction else None,
                "stack_level": 0,
                "charging_profile_purpose": "TxProfile",
                "charging_profile_kind": "Absolute",
                "charging_schedule": schedule,
            }
            answer = await charger.async_call(call.SetChargingProfile(connector_id=1, cs_charging_profiles=profile))
            say(limited=answer.status)


asyncio.run(main(int(sys.argv[1])))
