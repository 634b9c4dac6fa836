"""Who of two processes of one name gives way, by what each can see, along a clock that is set."""

import pytest

from broker.rivalry import FIGHTS, STEADY_S, Rivalry

STATE, WILL = "site/state", b"offline"


class Client:
    """``loses`` its connection after some seconds and makes it anew at once, unless it gives way."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rivalry = Rivalry(STATE, WILL, clock=lambda: self.now)
        self.rivalry.stands()
        self.rivalry.sends(STATE, b"online")

    def loses(self, after_s: float, found: bytes) -> bool:
        """``found``: what the broker retains under the own state afterwards. Returns whether it gives way."""
        self.now += after_s
        self.rivalry.ended()
        self.rivalry.stands()
        self.rivalry.hears(STATE, found)
        return self.rivalry.gives_way


def test_who_comes_later_gives_way_when_its_connection_is_taken_back() -> None:
    assert Client().loses(0.2, b"online of another")


def test_who_holds_it_takes_it_back_a_few_times() -> None:
    client = Client()
    assert not client.loses(STEADY_S, b"online of another")
    fought = [client.loses(0.2, b"online of another") for _ in range(FIGHTS)]
    assert fought == [False] * (FIGHTS - 1) + [True]


def test_a_look_now_and_then_displaces_nobody() -> None:
    client = Client()
    for _ in range(100):
        assert not client.loses(STEADY_S, b"online of another")
        assert not client.loses(0.2, b"online of another")


@pytest.mark.parametrize("found", [WILL, b"online", b""])
def test_a_bad_network_makes_nobody_give_way(found: bytes) -> None:
    client = Client()
    assert not any(client.loses(0.1, found) for _ in range(100))


def test_a_broker_that_comes_and_goes_with_what_it_knew_long_ago_makes_nobody_give_way() -> None:
    client = Client()
    for _ in range(100):
        client.now += 0.1
        client.rivalry.ended()
        client.rivalry.broker_is_away()
        client.rivalry.stands()
        client.rivalry.hears(STATE, b"online of an earlier life")
        assert not client.rivalry.gives_way


def test_what_an_earlier_process_left_is_no_rival() -> None:
    client = Client()
    client.rivalry.hears(STATE, b"online of an earlier life")
    assert not client.loses(0.1, b"online")


def test_who_has_no_will_gives_way_to_nobody() -> None:
    rivalry = Rivalry(None)
    for _ in range(10):
        rivalry.stands()
        rivalry.hears(STATE, b"anything")
        rivalry.ended()
    assert not rivalry.gives_way
