"""What `broker.mqtt` relies on, of each broker: tests of `tests.broker.test_mqtt`, which run there on two of them."""

from broker.address import BrokerAddress
from tests.broker.test_mqtt import (  # noqa: F401 - they are run here with this folder's fixture
    check_persistent_session,
    test_a_goodbye_publishes_no_last_will,
    test_a_payload_of_the_greatest_size_arrives_whole,
    test_a_retained_message_reaches_who_comes_later_and_says_that_it_was_kept,
    test_a_second_client_of_one_name_displaces_the_first_which_does_not_fight_in_a_tight_loop,
    test_after_a_broken_connection_it_subscribes_again_and_repeats_what_it_retains,
    test_both_ends_send_small_messages_at_once,
    test_it_waits_no_longer_than_it_was_told,
    test_messages_of_one_topic_keep_their_order,
    test_several_hundred_retained_messages_all_arrive_though_none_is_acknowledged,
    test_the_last_will_of_a_killed_process_is_published_and_retained,
    test_who_says_goodbye_and_comes_back_at_once_has_no_last_will,
)


def test_a_persistent_session_gets_again_what_it_did_not_acknowledge(address: BrokerAddress) -> None:
    check_persistent_session(address)
