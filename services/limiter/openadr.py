"""An OpenADR 3 server as a source of limits: the events of its programs, asked for again and again."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from schemas.site.limits import OpenAdrLimit
from services.limiter.window import Heard, Window
from services.openadr.client import VtnClient, VtnError
from services.openadr.events import Payload, Span, course, spans_of

LOG = logging.getLogger(__name__)

FIRST_RETRY_S = 5.0
"""After a failure; twice as long after each further one, up to ``poll_s``. A ``Retry-After`` goes before it."""
KW = {"": 1.0, "KW": 1.0, "W": 0.001, "MW": 1000.0}
IMPORT = Payload("IMPORT_CAPACITY_LIMIT", KW, least=0.0)
EXPORT = Payload("EXPORT_CAPACITY_LIMIT", KW, least=0.0)


def heard_of(
    events: Sequence[Mapping[str, Any]], programs: Mapping[str, Mapping[str, Any]], now: datetime, ven: str
) -> Heard:
    """The windows that events demand from now on, and what is wrong with those that cannot be used."""
    imports, wrong = spans_of(events, programs, IMPORT, now, ven)
    exports, more = spans_of(events, programs, EXPORT, now, ven)
    windows = _windows(course(imports, now), course(exports, now), now)
    return Heard(windows=tuple(windows), trouble="; ".join(dict.fromkeys([*wrong, *more]))[:300])


def _windows(imports: list[Span], exports: list[Span], now: datetime) -> list[Window]:
    """Both directions as one course."""
    edges = {edge for span in (*imports, *exports) for edge in (span.begins, span.ends) if edge and edge > now}
    found = []
    for begins, ends in pairwise([now, *sorted(edges), None]):
        assert begins is not None
        held = [next((span for span in spans if span.holds_at(begins)), None) for spans in (imports, exports)]
        there = [span for span in held if span is not None]
        if not there:
            continue
        import_kw, export_kw = (None if span is None else span.value for span in held)
        names = ", ".join(dict.fromkeys(span.event for span in there))
        # What holds already began when its events did: the same limit each time it is asked for.
        since = max(span.begins for span in there) if begins == now else begins
        window = Window(
            begins=since, ends=ends, import_kw=import_kw, export_kw=export_kw, source=f"OpenADR {names}"[:100]
        )
        found.append(window)
    return found


class OpenAdrSource:
    """Asks in a thread of its own. ``now``: the machine's clock."""

    value_type = Heard

    def __init__(
        self, name: str, described: OpenAdrLimit, ven: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self.name = name
        self._described = described
        self._ven = ven
        self._now = now
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._reported: set[tuple[str, str]] = set()
        """Events, with when they were changed, of which a report was asked for and sent."""

    def open(self, put: Callable[[object], bool]) -> None:
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(put,), name=f"source {self.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Does not wait for an answer that is on its way: what comes after it goes nowhere."""
        self._stop.set()

    def _run(self, put: Callable[[object], bool]) -> None:
        wait_s, client = FIRST_RETRY_S, None
        enrolled = False
        while not self._stop.is_set():
            try:
                client = client or VtnClient(self._described)
                if not enrolled:
                    client.enrol(self._ven)
                    enrolled = True
                heard = self._heard(client)
            except Exception as error:  # a thread that ended would leave a server that nobody asks, and say nothing
                known = isinstance(error, VtnError)
                why = str(error) if known else f"{type(error).__name__}: {error}"
                LOG.warning("%s: %s", self.name, why, exc_info=not known)
                if not self._stop.is_set():
                    put(Heard(trouble=why[:300]))
                self._stop.wait(max(min(wait_s, self._described.poll_s), getattr(error, "retry_after_s", 0.0)))
                wait_s *= 2
                continue
            if self._stop.is_set():
                break
            put(heard)
            wait_s = FIRST_RETRY_S
            self._stop.wait(self._described.poll_s)
        if client is not None:
            client.close()

    def _heard(self, client: VtnClient) -> Heard:
        """Raises VtnError."""
        events, programs = client.events()
        heard = heard_of(events, programs, self._now(), self._ven)
        troubles = [heard.trouble] if heard.trouble else []
        for event in events:
            try:
                self._report(client, event, heard)
            except VtnError as error:
                troubles.append(str(error))
        return heard.model_copy(update={"trouble": "; ".join(troubles)[:300]})

    def _report(self, client: VtnClient, event: Mapping[str, Any], heard: Heard) -> None:
        """Answers an event that asks for a report of a limit, once, with the limit that is in force or comes next."""
        key = (str(event.get("id")), str(event.get("modificationDateTime")))
        descriptors = event.get("reportDescriptors") or ()
        kinds = [each.get("payloadType") for each in descriptors if isinstance(each, dict)]
        asked = [kind for kind in (IMPORT.type, EXPORT.type) if kind in kinds]
        if not asked or key in self._reported or not heard.windows:
            return
        window = heard.windows[0]
        values = {IMPORT.type: window.import_kw, EXPORT.type: window.export_kw}
        payloads = [{"type": kind, "values": [values[kind]]} for kind in asked if values[kind] is not None]
        if not payloads:
            return
        resource = {"resourceName": "AGGREGATED_REPORT", "intervals": [{"id": 0, "payloads": payloads}]}
        body = {
            "objectType": "REPORT",
            "eventID": key[0],
            "clientName": self._ven,
            "reportName": f"limit of {self._ven}",
            "payloadDescriptors": [
                {"objectType": "REPORT_PAYLOAD_DESCRIPTOR", "payloadType": each["type"], "units": "KW"}
                for each in payloads
            ],
            "resources": [resource],
        }
        client.report(body)
        self._reported.add(key)
