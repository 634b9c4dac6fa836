"""A real OpenADR 3.1 server that others wrote, openleadr-vtn: enrolment, events, reports, prices, and the server away.

``pytest -m long``, after tests/limits/openleadr/install.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from schemas.limits import Allowed, InForce
from schemas.site.feeds import OpenAdrFeed
from services.feeds.openadr import openadr_reading
from tests.limits.described import in_force, process, site_with, until
from tests.limits.openleadr.vtn import SITE, serving
from tests.parts import skip_without

pytestmark = pytest.mark.long
LIMIT = "IMPORT_CAPACITY_LIMIT"


def test_a_day_with_a_real_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    with serving() as vtn, LocalMosquitto() as broker:
        descriptors = [{"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": LIMIT, "units": "KW"}]
        program = vtn.program("dynamic operating envelope", payloadDescriptors=descriptors)
        (tmp_path / "secret").write_text(SITE[1])
        client = {"client_id": SITE[0], "client_secret_file": str(tmp_path / "secret")}
        described = {"type": "openadr", "url": vtn.url, "poll_s": 1, "heartbeat_s": 1, "max_age_s": 3, **client}
        site = site_with(tmp_path, vtn={**described, "failsafe_import_kw": 30.0, "source": "utility"})

        def holds(*found: Allowed) -> bool:
            return in_force(broker.address, site) == InForce(*found)

        with process(tmp_path, site, "vtn", broker.address):
            until(lambda: in_force(broker.address, site) == InForce(), "no event")
            now = datetime.now(UTC)
            period = {"start": now.isoformat(), "duration": "PT2H"}
            intervals = [{"id": 0, "payloads": [{"type": LIMIT, "values": [20.0]}]}]
            asks = [{"payloadType": LIMIT}]
            made = vtn.event(program, "peak", intervalPeriod=period, intervals=intervals, reportDescriptors=asks)
            until(lambda: holds(Allowed(20.0, "OpenADR peak", False)), "the event")
            until(lambda: bool(vtn.call("GET", "/reports")), "the report")
            (report,) = vtn.call("GET", "/reports")
            assert report["eventID"] == made["id"]
            assert report["resources"][0]["intervals"][0]["payloads"] == [{"type": LIMIT, "values": [20.0]}]
            assert [each["venName"] for each in vtn.call("GET", "/vens")] == [f"twinswarm-{site.site}"]

            changed = {**made, "priority": 5, "intervals": [{"id": 0, "payloads": [{"type": LIMIT, "values": [15.0]}]}]}
            vtn.call("PUT", f"/events/{made['id']}", changed)
            until(lambda: holds(Allowed(15.0, "OpenADR peak", False)), "the changed event")
            urgent = vtn.event(program, "urgent", priority=0, intervalPeriod=period, intervals=intervals)
            until(lambda: holds(Allowed(20.0, "OpenADR urgent", False)), "the higher priority")
            vtn.call("DELETE", f"/events/{urgent['id']}")
            until(lambda: holds(Allowed(15.0, "OpenADR peak", False)), "the cancelled event")

            vtn.stop()
            began = datetime.now(UTC)
            until(lambda: datetime.now(UTC) > began + timedelta(seconds=8), "longer than max_age_s and heartbeats")
            assert holds(Allowed(15.0, "OpenADR peak", False)), "what is known holds"
            vtn.start()
            for sent in vtn.call("GET", "/reports"):  # this server keeps an event of which there are reports
                vtn.call("DELETE", f"/reports/{sent['id']}")
            vtn.call("DELETE", f"/events/{made['id']}")
            until(lambda: in_force(broker.address, site) == InForce(), "the server is heard again")
            vtn.stop()
            until(lambda: holds(Allowed(30.0, "utility", True)), "the failsafe")
            vtn.start()

        prices = [{"id": i, "payloads": [{"type": "PRICE", "values": [0.1 + i / 100]}]} for i in range(24)]
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        hourly = {"start": midnight.isoformat(), "duration": "PT1H"}
        per_kwh = {"objectType": "EVENT_PAYLOAD_DESCRIPTOR", "payloadType": "PRICE", "units": "KWH", "currency": "EUR"}
        vtn.event(program, "day-ahead", intervalPeriod=hourly, intervals=prices, payloadDescriptors=[per_kwh])
        reading = openadr_reading(OpenAdrFeed(url=vtn.url, **client), datetime.now(UTC))
        assert reading.start == midnight
        assert reading.values[::4] == pytest.approx([0.1 + i / 100 for i in range(24)])
