"""A simulation refuses a site that lives."""

import threading
from itertools import count

import pytest

from broker.address import BrokerAddress
from broker.memory import MemoryBroker, MemoryTransport
from broker.mqtt import MqttTransport
from broker.transport import Transport, Will
from schemas.errors import Code, SiteBusyError
from schemas.messages import (
    Birth,
    Body,
    MeterNameplate,
    MeterRole,
    MeterTelemetry,
    Presence,
    RunId,
    Stamp,
    State,
    TimeMode,
)
from schemas.topics import Channel, Kind, Topic
from schemas.wire import encode
from services.clock.refusal import check_nothing_is_simulated, check_site_is_free
from tests.errors import raises
from tests.runtime.probe import RUN0, RUN1, SITE, T0, session

BOTH = (TimeMode.LOCKSTEP, TimeMode.WALL)


class Site:
    """What is on a broker of a site, written by one client."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.writer = MemoryTransport(self.broker, "writer")
        self.writer.connect([])
        self._seq = count(1)

    def say(
        self, kind: Kind, device: str, channel: Channel, body: Body, *, boot: str = "one", run: RunId | None = RUN0
    ) -> None:
        topic = Topic(SITE, kind, device, channel)
        payload = encode(Stamp(ts=T0, run=run, boot=boot, seq=next(self._seq)), body)
        self.writer.publish(str(topic), payload, retain=topic.retained)

    def member(
        self,
        device: str,
        state: Presence = Presence.ONLINE,
        *,
        modes: tuple[TimeMode, ...] = BOTH,
        kind: Kind = Kind.METER,
        state_boot: str = "one",
    ) -> None:
        birth = Birth(nameplate=MeterNameplate(role=MeterRole.LOAD), time_modes=modes, software="x")
        self.say(kind, device, Channel.BIRTH, birth)
        self.say(kind, device, Channel.STATE, State(state=state), boot=state_boot)

    def check(self, *allowed: str, mode: TimeMode = TimeMode.LOCKSTEP) -> None:
        transport = MemoryTransport(self.broker, "checker")
        check_site_is_free(transport, SITE, mode, set(allowed), listen_s=0.05)

    def check_before_real_devices(self) -> None:
        check_nothing_is_simulated(MemoryTransport(self.broker, "checker"), SITE, listen_s=0.05)


def test_an_empty_site_is_free() -> None:
    Site().check()


def test_an_open_session_whose_clock_is_online_is_refused_by_name() -> None:
    site = Site()
    site.say(Kind.CLOCK, "clock", Channel.RUN, session())
    site.member("clock", kind=Kind.CLOCK)
    with raises(Code.SITE_BUSY, SITE, RUN0, "clock/clock", kind=SiteBusyError):
        site.check("clock")


def test_a_session_that_has_ended_is_no_obstacle() -> None:
    site = Site()
    site.say(Kind.CLOCK, "clock", Channel.RUN, session(ended_after_s=10))
    site.member("clock", Presence.OFFLINE, kind=Kind.CLOCK)
    site.check()


def test_a_session_left_open_by_a_clock_that_is_gone_is_no_obstacle_when_nobody_is_online() -> None:
    site = Site()
    site.say(Kind.CLOCK, "clock", Channel.RUN, session())
    site.member("clock", Presence.OFFLINE, kind=Kind.CLOCK)
    site.member("meter-1", Presence.OFFLINE)
    site.check()


def test_an_open_session_of_real_devices_is_refused_though_its_clock_is_gone() -> None:
    site = Site()
    site.say(Kind.CLOCK, "clock", Channel.RUN, session(simulated=False))
    site.member("clock", Presence.OFFLINE, kind=Kind.CLOCK)
    with raises(Code.SITE_BUSY, kind=SiteBusyError):
        site.check()


@pytest.mark.parametrize("presence", [Presence.ONLINE, Presence.FAULT])
def test_a_device_that_this_run_did_not_start_is_refused_by_name(presence: Presence) -> None:
    site = Site()
    site.member("stranger", presence)
    site.member("mine")
    with raises(Code.SITE_BUSY, "meter/stranger", kind=SiteBusyError) as error:
        site.check("mine")
    assert "mine" not in str(error.value)


def test_a_state_of_an_earlier_life_than_the_birth_is_not_presence() -> None:
    site = Site()
    site.member("stranger", state_boot="zero")
    site.check()


def test_a_device_of_this_run_that_cannot_follow_its_time_is_refused() -> None:
    site = Site()
    site.member("mine", modes=(TimeMode.WALL,))
    site.check("mine", mode=TimeMode.WALL)
    with raises(Code.SITE_BUSY, "meter/mine", "lockstep", "wall", kind=SiteBusyError):
        site.check("mine")


def test_everything_that_lives_is_named_at_once() -> None:
    site = Site()
    site.member("stranger")
    site.member("mine", modes=(TimeMode.WALL,))
    with pytest.raises(SiteBusyError) as error:
        site.check("mine")
    assert "stranger" in str(error.value)
    assert "mine" in str(error.value)


def test_garbage_on_the_topics_is_no_obstacle() -> None:
    site = Site()
    site.writer.publish(str(Topic(SITE, Kind.CLOCK, "clock", Channel.RUN)), b"{", retain=True)
    site.writer.publish(f"twin/v2/{SITE}/nonsense/x/state", b"{}", retain=True)
    site.check()


def test_the_check_listens_long_enough_for_who_only_talks_now_and_then(address: BrokerAddress) -> None:
    """No birth, no state: a device that only sends telemetry, over a real broker."""
    topic = Topic(SITE, Kind.METER, "mute", Channel.TELEMETRY)
    telemetry = encode(Stamp(ts=T0, run=RUN1, boot="b", seq=1), MeterTelemetry(power_kw=1.0))
    talker: Transport = MqttTransport(address, "talker")
    talker.connect([], Will("unused", b""))

    def talk() -> None:
        talker.publish(str(topic), telemetry)
        talker.flush(5.0)

    timer = threading.Timer(0.3, talk)
    timer.start()
    with raises(Code.SITE_BUSY, "meter/mute", kind=SiteBusyError):
        check_site_is_free(MqttTransport(address, "checker"), SITE, TimeMode.LOCKSTEP, set(), listen_s=1.0)
    timer.join()
    talker.close()
    check_site_is_free(MqttTransport(address, "checker"), SITE, TimeMode.LOCKSTEP, set(), listen_s=0.2)


def test_before_real_devices_an_open_session_of_theirs_and_whoever_is_online_is_no_obstacle() -> None:
    site = Site()
    site.say(Kind.CLOCK, "clock", Channel.RUN, session(simulated=False))
    site.member("clock", kind=Kind.CLOCK)
    site.member("stranger")
    site.check_before_real_devices()


def test_before_real_devices_a_simulation_is_refused_by_name_until_it_has_ended_or_is_abandoned() -> None:
    site = Site()
    site.say(Kind.CLOCK, "clock", Channel.RUN, session())
    site.member("clock", kind=Kind.CLOCK)
    with raises(Code.SITE_BUSY, "clock/clock", RUN0, kind=SiteBusyError):
        site.check_before_real_devices()
    site.member("clock", Presence.OFFLINE, kind=Kind.CLOCK)
    site.check_before_real_devices()
    site.member("clock", kind=Kind.CLOCK)
    site.say(Kind.CLOCK, "clock", Channel.RUN, session(ended_after_s=10))
    site.check_before_real_devices()
