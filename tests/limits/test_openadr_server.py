"""A server that is away, refuses, breaks off or says nonsense: what is known goes on, and each trouble is named."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.servers.mosquitto import LocalMosquitto, find_mosquitto
from schemas.errors import InputError
from schemas.limits import Allowed, InForce
from schemas.site.feeds import OpenAdrFeed
from schemas.site.limits import OpenAdrLimit
from services.feeds.fetch import FetchError
from services.feeds.openadr import openadr_reading
from services.feeds.reading import BadAnswerError
from services.limiter.openadr import OpenAdrSource
from services.limiter.window import Heard
from tests.limits.bad_vtn import SECRET, BadVtn, serving
from tests.limits.described import in_force, process, site_with, until
from tests.limits.test_openadr_events import event
from tests.parts import skip_without


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VTN_SECRET", SECRET)
    monkeypatch.setattr("services.limiter.openadr.FIRST_RETRY_S", 0.1)


def described(url: str, **changes: Any) -> dict[str, Any]:
    client = {"client_id": "site", "client_secret_env": "VTN_SECRET"}
    return {"type": "openadr", "url": url, "poll_s": 1, **client, **changes}


def soon(kw: float = 20.0, name: str = "peak", minutes: float = 60.0) -> dict[str, Any]:
    period = {"start": (datetime.now(UTC) - timedelta(minutes=1)).isoformat(), "duration": f"PT{minutes * 60:.0f}S"}
    return event(name, kw, intervalPeriod=period)


@contextmanager
def asking(vtn: BadVtn, **changes: Any) -> Iterator[list[Heard]]:
    found: list[Heard] = []

    def put(value: object) -> bool:
        assert isinstance(value, Heard)
        found.append(value)
        return True

    source = OpenAdrSource("lab", OpenAdrLimit.model_validate(described(vtn.url, **changes)), "ven")
    source.open(put)
    try:
        yield found
    finally:
        source.close()


def last_kw(found: list[Heard]) -> list[float | None] | None:
    return None if not found or found[-1].windows is None else [each.import_kw for each in found[-1].windows]


def test_events_come_change_and_are_cancelled_and_the_site_enrols_once() -> None:
    with serving() as vtn, asking(vtn) as found:
        until(lambda: last_kw(found) == [], "no event")
        vtn.events = [soon()]
        until(lambda: last_kw(found) == [20.0], "an event")
        vtn.events = [soon(11.0)]
        until(lambda: last_kw(found) == [11.0], "a changed event")
        vtn.events = []
        until(lambda: last_kw(found) == [], "a cancelled event")
        assert vtn.asked.count("POST /api/vens") == 1
        assert vtn.tokens == 1


def test_pages_are_read_to_the_last() -> None:
    with serving() as vtn:
        vtn.events = [event(f"other{i}", of="PRICE") for i in range(120)] + [soon()]
        with asking(vtn) as found:
            until(lambda: last_kw(found) == [20.0], "the event of the third page")


def test_a_token_that_is_over_is_asked_for_anew() -> None:
    with serving() as vtn, asking(vtn) as found:
        until(lambda: bool(found), "an answer")
        vtn.tokens += 1  # the server no longer knows the one that was given
        vtn.events = [soon()]
        until(lambda: last_kw(found) == [20.0], "an answer with another token")
        assert all(each.trouble == "" for each in found)


@pytest.mark.parametrize(
    ("worse", "what"),
    [
        ((500, "{}", {}), "127.0.0.1 answers 500 for events: Internal Server Error"),
        ((429, "{}", {"Retry-After": "1"}), "127.0.0.1 answers 429 for events: too many requests"),
        ((200, '[{"id": "e1", "objectTy', {}), "127.0.0.1 answers for events what is no JSON"),
        ((200, "[{}", {"Content-Length": "1000"}), "127.0.0.1 cannot be asked for events: RemoteProtocolError"),
        ((200, '{"events": []}', {}), "127.0.0.1 answers no list of events"),
        ((403, "{}", {}), "127.0.0.1 answers 403 for events: the client may not do that: look at its scopes"),
    ],
)
def test_a_bad_answer_is_named_and_the_next_good_one_counts(worse: tuple[int, str, dict[str, str]], what: str) -> None:
    with serving() as vtn:
        vtn.events, vtn.worse = [soon()], [worse]
        with asking(vtn) as found:
            until(lambda: last_kw(found) == [20.0], "the good answer")
            assert found[0].windows is None
            assert found[0].trouble.startswith(what)


def test_a_refused_client_a_missing_secret_and_an_unknown_program_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as vtn:
        with asking(vtn, program="prices") as found:
            until(lambda: bool(found), "the trouble")
            assert found[0].trouble == "127.0.0.1 has no program prices; it shows limits"
        monkeypatch.setenv("VTN_SECRET", "wrong")
        with asking(vtn) as found:
            until(lambda: bool(found), "the trouble")
            assert (
                found[0].trouble
                == "127.0.0.1 answers 401 for token: the client is refused: look at client_id and secret"
            )
            assert "wrong" not in found[0].trouble
        monkeypatch.delenv("VTN_SECRET")
        with asking(vtn) as found:
            until(lambda: bool(found), "the trouble")
            assert found[0].trouble == "the environment variable VTN_SECRET with the client's secret is not set"


def test_a_secret_does_not_stand_in_the_site_and_belongs_to_a_client(tmp_path: Path) -> None:
    faults = {
        "client_id and its secret": {"client_secret_env": None},
        "give one": {"client_secret_file": "secret.txt"},
        "client_secret": {"client_secret": "plain"},
    }
    for number, (what, changes) in enumerate(faults.items()):
        with pytest.raises(InputError, match=what):
            site_with(tmp_path / str(number), vtn=described("https://vtn.example", **changes))


def test_a_process_without_its_server_keeps_the_event_to_its_end_and_then_the_failsafe(tmp_path: Path) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    fast = {"heartbeat_s": 1, "max_age_s": 5, "failsafe_import_kw": 30.0, "source": "utility"}
    with LocalMosquitto() as broker, ExitStack() as alive:
        peak = InForce(Allowed(12.0, "OpenADR peak", False))
        with serving() as vtn:
            site = site_with(tmp_path, vtn=described(vtn.url, **fast))
            alive.enter_context(process(tmp_path, site, "vtn", broker.address, VTN_SECRET=SECRET))
            until(lambda: "GET /api/events?skip=0&limit=50" in vtn.asked, "a process that asks")
            ends = datetime.now(UTC) + timedelta(seconds=15)
            began = ends - timedelta(minutes=5)
            vtn.events = [event("peak", 12.0, intervalPeriod={"start": began.isoformat(), "duration": "PT5M"})]
            until(lambda: in_force(broker.address, site) == peak, "a limit")
        # The server is gone.
        until(lambda: in_force(broker.address, site) != peak or datetime.now(UTC) >= ends, "the end")
        assert ends - datetime.now(UTC) < timedelta(seconds=1), "it holds to its end"
        failsafe = InForce(Allowed(30.0, "utility", True))
        until(lambda: in_force(broker.address, site) == failsafe, "the failsafe")


def prices(vtn: BadVtn, **changes: Any) -> OpenAdrFeed:
    return OpenAdrFeed(url=vtn.url, client_id="site", client_secret_env="VTN_SECRET", **changes)


def test_prices_are_a_reading_in_euros_by_the_kilowatt_hour() -> None:
    now = datetime(2026, 11, 29, 9, 7, tzinfo=UTC)
    period = {"start": "2026-11-29T00:00:00+01:00", "duration": "PT1H"}
    hours = [{"id": i, "payloads": [{"type": "PRICE", "values": [100.0 + i]}]} for i in range(24)]
    per_mwh = [{"payloadType": "PRICE", "units": "MWH", "currency": "EUR"}]
    with serving() as vtn:
        vtn.events = [event("day", of="PRICE", intervalPeriod=period, intervals=hours, payloadDescriptors=per_mwh)]
        reading = openadr_reading(prices(vtn), now)
        assert (reading.start, reading.step_s) == (datetime(2026, 11, 28, 23, tzinfo=UTC), 900)
        assert reading.values[::4] == pytest.approx([0.1 + i / 1000 for i in range(24)])
        assert len(reading.values) == 96
        changed = {**vtn.events[0], "id": "later", "modificationDateTime": "2026-11-29T08:30:00Z"}
        vtn.events.append({**changed, "intervals": [{"id": 0, "payloads": [{"type": "PRICE", "values": [7.0]}]}]})
        assert openadr_reading(prices(vtn), now).values[:8:4] == pytest.approx([0.007, 0.101]), "the newer one counts"
        vtn.events = [event("day", of="PRICE", intervalPeriod=period, intervals=hours)]
        vtn.events[0]["payloadDescriptors"] = [{"payloadType": "PRICE", "units": "KWH", "currency": "USD"}]
        with pytest.raises(BadAnswerError, match="event day: PRICE is in USD, and EUR is allowed"):
            openadr_reading(prices(vtn), now)
        with pytest.raises(BadAnswerError, match="has no event with GHG"):
            openadr_reading(prices(vtn, payload="GHG"), now)
        vtn.worse = [(500, "{}", {})]
        with pytest.raises(FetchError, match="answers 500 for events"):
            openadr_reading(prices(vtn), now)
