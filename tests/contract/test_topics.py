"""Topics: built and parsed in one place, and matched as MQTT says."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import RemoteMessageError
from schemas.topics import (
    FORWARDED,
    Channel,
    Kind,
    Topic,
    client_id,
    everything,
    forward_of,
    forwarded,
    matches,
    topic_filter,
)


@settings(deadline=None, max_examples=100)
@given(
    site=st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True),
    kind=st.sampled_from(Kind),
    device=st.from_regex(r"[a-z0-9-]{1,31}", fullmatch=True),
    channel=st.sampled_from(Channel),
)
def test_topic_is_parsed_to_what_it_was_built_from(site: str, kind: Kind, device: str, channel: Channel) -> None:
    topic = Topic(site, kind, device, channel)
    assert Topic.parse(str(topic)) == topic
    assert matches(everything(site), str(topic))
    assert matches(topic_filter(site, kind, device, channel), str(topic))
    assert matches(topic_filter(site, channel=channel), str(topic))


@pytest.mark.parametrize("channel", Channel)
def test_a_topic_on_which_a_message_is_sent_again_names_the_topic_of_the_message(channel: Channel) -> None:
    topic = Topic("s", Kind.CHARGER, "ev1", channel)
    again = forward_of(str(topic))
    assert not matches(everything("s"), again)
    assert matches(forwarded("s"), again)
    if channel in FORWARDED:
        assert Topic.parse(again) == topic
    else:
        with pytest.raises(RemoteMessageError, match="is not forwarded"):
            Topic.parse(again)


@settings(deadline=None, max_examples=100)
@given(site=st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True), device=st.from_regex(r"[a-z0-9-]{1,31}", fullmatch=True))
def test_a_client_identifier_names_site_and_device_and_every_broker_takes_it(site: str, device: str) -> None:
    """NATS refuses dots and white space; a CN has at most 64 characters."""
    name = client_id(site, device)
    assert name.split("_") == [site, device]
    assert re.fullmatch("[a-z0-9_-]{3,64}", name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "twin/v2",
        "twin/v1/a/charger/b/state",
        "twin/v2/a/charger/b/state/",
        "twin/v2/a/charger/b/state\n",
        "/twin/v2/a/charger/b/state",
        "twin/v2/A/charger/b/state",
        "twin/v2/a/charger/b_c/state",
        "twin/v2/a/kettle/b/state",
        "twin/v2/a/charger/b/weather",
        "twin/v2//charger/b/state",
        f"twin/v2/{'a' * 33}/charger/b/state",
        f"twin/v2/a/charger/{'b' * 32}/state",
        "twin/v2/a/charger/+/state",
        "twin/v2/a/charger/b/" + "x" * 65_000,
    ],
)
def test_wrong_topic_is_the_peers_error_and_named_shortly(text: str) -> None:
    with pytest.raises(RemoteMessageError) as caught:
        Topic.parse(text)
    assert text[:20] in str(caught.value).encode().decode("unicode_escape")
    assert len(str(caught.value)) < 300


def test_retained_are_exactly_the_channels_that_tell_who_comes_later() -> None:
    retained = {channel for channel in Channel if Topic("s", Kind.EMS, "ems", channel).retained}
    standing = {Channel.BIRTH, Channel.STATE, Channel.RUN, Channel.REQUEST}
    assert retained == standing | {Channel.SERIES, Channel.LIMIT, Channel.PLAN, Channel.EARNINGS}


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        # Examples of MQTT 3.1.1, sections 4.7.1.2 and 4.7.1.3.
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/#", "sport", True),
        ("#", "sport/tennis", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
    ],
)
def test_filters_match_as_mqtt_says(pattern: str, topic: str, expected: bool) -> None:
    assert matches(pattern, topic) == expected
