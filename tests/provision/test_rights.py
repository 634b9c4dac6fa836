"""The table of rights fits what participants do: all that they want, and no more than their kind needs."""

import pytest

from broker.provision.acl import access_list
from broker.provision.workspace import clients_of
from runtime.pump import ClockPump
from schemas.roles import READS, WRITES, read_filters, write_filters
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic, forward_of, matches, topic_filter
from services.clock.refusal import WATCHED
from services.history.store import HistoryStore
from sites.loader import builtin_sites, load_site
from twinswarm.simulation.compose import Recording, maker, members

SITES = {name: load_site(name) for name in builtin_sites()}


def covers(granted: str, wanted: str) -> bool:
    """Whether every topic that ``wanted`` matches is matched by ``granted``, too."""
    have, want = granted.split("/"), wanted.split("/")
    for place, level in enumerate(have):
        if level == "#":
            return True
        if place >= len(want) or want[place] == "#" or (level != "+" and level != want[place]):
            return False
    return len(have) == len(want)


@pytest.mark.parametrize(
    ("granted", "wanted", "whole"),
    [
        ("a/+/c", "a/b/c", True),
        ("a/+/c", "a/+/c", True),
        ("a/b/c", "a/+/c", False),
        ("a/#", "a/+/c/#", True),
        ("a/+", "a/#", False),
        ("a/+", "a/b/c", False),
    ],
)
def test_one_filter_covers_another(granted: str, wanted: str, whole: bool) -> None:
    assert covers(granted, wanted) == whole


@pytest.mark.parametrize("name", SITES)
def test_everybody_may_read_what_it_subscribes_to(name: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    site = SITES[name]
    store = HistoryStore(tmp_path / "history.sqlite")
    for device in members(site):
        participant = maker(site, device, Recording(store))()
        run_loops = (
            topic_filter(site.site, Kind.CLOCK, channel=Channel.TICK),
            topic_filter(site.site, Kind.CLOCK, channel=Channel.RUN),
            str(Topic(site.site, participant.kind, device, Channel.STATE)),
        )
        granted = read_filters(site.site, participant.kind, device)
        for wanted in (*participant.subscriptions, *run_loops):
            assert any(covers(one, wanted) for one in granted), (device, wanted)
    store.close()


def test_the_clock_may_read_what_it_drives_and_what_it_looks_for_beforehand() -> None:
    granted = read_filters("s", Kind.CLOCK, "clock")
    own = (Topic("s", Kind.CLOCK, "clock", Channel.STATE), Topic("s", Kind.CLOCK, "clock", Channel.RUN))
    looks = (topic_filter("s", channel=channel) for channel in WATCHED)
    for wanted in (*ClockPump.subscriptions("s"), *looks, *map(str, own)):
        assert any(covers(one, wanted) for one in granted), wanted


def test_only_the_ems_writes_set_points_and_it_their_device_its_shadow_recorder_clock_and_observers_read_them() -> None:
    setpoint = str(Topic("s", Kind.CHARGER, "ev1", Channel.SETPOINT))
    clients: dict[str, Kind | None] = {str(kind): kind for kind in Kind}
    clients |= {"ev1": Kind.CHARGER, "ev2": Kind.CHARGER, "observer": None}
    writers = {
        name
        for name, kind in clients.items()
        if kind is not None and any(matches(one, setpoint) for one in write_filters("s", kind, name))
    }
    readers = {
        name for name, kind in clients.items() if any(matches(one, setpoint) for one in read_filters("s", kind, name))
    }
    assert writers == {"ems"}
    assert readers == {"ev1", "ems", "clock", "recorder", "shadow", "observer"}


def test_every_kind_has_rights_and_every_channel_a_writer_and_a_reader() -> None:
    assert set(WRITES) == set(READS) == set(Kind)
    assert {right.channel for rights in WRITES.values() for right in rights} == set(Channel)
    assert {right.channel for rights in READS.values() for right in rights} == set(Channel)


def test_a_device_writes_below_its_own_name_only() -> None:
    """But for the EMS with its set-points, the recorder with its receipts, and the clock, which makes things happen to
    twins."""
    foreign = {Kind.CLOCK: "/+/event", Kind.RECORDER: "/+/receipt"}
    for kind in set(Kind) - {Kind.EMS}:
        below = (f"twin/v2/s/{kind}/x/", f"twin/forward/v2/s/{kind}/x/")
        others = [one for one in write_filters("s", kind, "x") if not one.startswith(below)]
        assert all(kind in foreign and one.endswith(foreign[kind]) for one in others)


def test_what_is_sent_again_is_written_by_its_sender_and_read_by_the_recorder_alone() -> None:
    """Whoever acts on messages is never handed an old one."""
    again = forward_of(str(Topic("s", Kind.CHARGER, "ev1", Channel.TELEMETRY)))
    clients: dict[str, Kind | None] = {str(kind): kind for kind in Kind}
    clients |= {"ev1": Kind.CHARGER, "ev2": Kind.CHARGER, "observer": None}
    writers = {n for n, k in clients.items() if k and any(matches(one, again) for one in write_filters("s", k, n))}
    readers = {n for n, k in clients.items() if any(matches(one, again) for one in read_filters("s", k, n))}
    assert (writers, readers) == ({"ev1"}, {"recorder"})


def test_ticks_dones_and_the_time_base_are_never_sent_again() -> None:
    for kind in Kind:
        for one in write_filters("s", kind, "x"):
            assert not (
                one.startswith("twin/forward/") and one.rpartition("/")[2] in {"tick", "done", "run", "receipt"}
            )


def test_the_access_list_of_one_charger_is_this() -> None:
    """By hand, from the design's words: own channels written, once more for the recorder; own set-points, limits,
    state, receipt and the time read."""
    _, charger, provisioner = access_list("s", {"ev1": Kind.CHARGER}).split("\nuser ")
    assert charger.splitlines() == [
        "s_ev1",
        "topic readwrite twin/v2/s/charger/ev1/state",
        *(
            f"topic write twin/v2/s/charger/ev1/{channel}"
            for channel in ("birth", "alarm", "metric", "reject", "done", "telemetry", "ack")
        ),
        *(
            f"topic write twin/forward/v2/s/charger/ev1/{channel}"
            for channel in ("birth", "state", "alarm", "metric", "reject", "telemetry", "ack")
        ),
        "topic read twin/v2/s/clock/+/run",
        "topic read twin/v2/s/clock/+/tick",
        "topic read twin/v2/s/charger/ev1/receipt",
        "topic read twin/v2/s/charger/ev1/setpoint",
        "topic read twin/v2/s/charger/ev1/event",
        "topic read twin/v2/s/limiter/+/limit",
    ]
    assert provisioner.splitlines() == ["s_provision", "topic readwrite twin/v2/s/+/+/state"]


@pytest.mark.parametrize("site", SITES.values(), ids=SITES)
def test_devices_services_network_twin_and_an_observer_get_certificates(site: Site) -> None:
    services = {"network", "clock", "ems", "recorder", "forecast", "tariff", "observer"}
    assert set(clients_of(site)) == set(site.devices) | services
