"""Each broker, started once for the tests that look at its promises."""

from collections.abc import Iterator

import pytest

from broker.address import BrokerAddress
from broker.servers.embedded import EmbeddedBroker
from tests.brokers.servers import SERVERS

EMBEDDED = "amqtt"
NOT_RUN = "; not run, as it leaves the broker unfit for the other tests"
NOW_AND_THEN = "; not every time"
LACKS = {
    (
        "amqtt",
        "test_a_persistent_session_gets_again_what_it_did_not_acknowledge",
    ): "what was sent is not kept; lock-step repeats it",
    (
        "mochi",
        "test_a_persistent_session_gets_again_what_it_did_not_acknowledge",
    ): f"it refuses a SUBSCRIBE with the identifier of a message that it has under way to this client{NOW_AND_THEN}",
    ("aedes", "test_both_ends_send_small_messages_at_once"): "Nagle's algorithm is on, and no option turns it off",
    (
        "moquette",
        "test_a_retained_message_reaches_who_comes_later_and_says_that_it_was_kept",
    ): "what was kept comes without the flag that says so",
    (
        "moquette",
        "test_several_hundred_retained_messages_all_arrive_though_none_is_acknowledged",
    ): f"it sends 10 messages and waits until they are acknowledged{NOT_RUN}",
    (
        "moquette",
        "test_after_a_broken_connection_it_subscribes_again_and_repeats_what_it_retains",
    ): f"after a connection that broke it answers no CONNECT of this client for a while{NOT_RUN}",
    (
        "moquette",
        "test_a_persistent_session_gets_again_what_it_did_not_acknowledge",
    ): f"after a connection that broke it answers no CONNECT of this client for a while{NOT_RUN}",
    (
        "moquette",
        "test_who_says_goodbye_and_comes_back_at_once_has_no_last_will",
    ): f"now and then it answers no CONNECT of a client that comes back at once{NOT_RUN}",
    (
        "moquette",
        "test_messages_of_one_topic_keep_their_order",
    ): f"on a busy machine it repeats messages and passes others on too late{NOW_AND_THEN}",
    ("moquette", "test_the_last_will_of_a_killed_process_is_published_and_retained"): "a last will is not retained",
}
"""Promises that a broker does not keep in the version that is tested; docs/brokers.md says what that means."""


@pytest.fixture(autouse=True)
def _expected(request: pytest.FixtureRequest) -> None:
    """A broker that begins to keep its promise is noticed: then its line above is to go."""
    parameters = getattr(request.node, "callspec", None)
    name = "" if parameters is None else str(parameters.params.get("address"))
    if reason := LACKS.get((name, request.node.originalname)):
        known = pytest.mark.xfail(reason=reason, strict=NOW_AND_THEN not in reason, run=NOT_RUN not in reason)
        request.applymarker(known)


@pytest.fixture(scope="session", params=[EMBEDDED, *SERVERS])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerAddress]:
    """Where a broker listens, each of them in turn."""
    if request.param == EMBEDDED:
        with EmbeddedBroker() as broker:
            yield broker.address
    else:
        with SERVERS[request.param].running(tmp_path_factory.mktemp(request.param)) as address:
            yield address
