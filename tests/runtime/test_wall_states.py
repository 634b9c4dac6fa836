"""The table of states in wall time, checked as a table."""

import pytest

from runtime.wall_states import IN_A_RUN, SHOWN, TRANSITIONS, WallEvent, WallProgress, WallState


def test_every_state_is_in_the_table_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(WallState)
    reached, new = {WallState.CONNECTING}, {WallState.CONNECTING}
    while new:
        new = {following for state in new for following in TRANSITIONS[state].values()} - reached
        reached |= new
    assert reached == set(WallState)


def test_every_event_is_used() -> None:
    assert {event for events in TRANSITIONS.values() for event in events} == set(WallEvent)


def test_goodbye_ends_every_state_but_the_last_and_from_there_nothing_follows() -> None:
    for state in set(WallState) - {WallState.LEFT}:
        assert TRANSITIONS[state][WallEvent.GOODBYE] is WallState.LEFT
    assert TRANSITIONS[WallState.LEFT] == {}


def test_a_newer_run_is_entered_from_every_state_in_which_one_listens() -> None:
    listening = set(WallState) - {WallState.CONNECTING, WallState.ENDED, WallState.LEFT}
    for state in WallState:
        following = TRANSITIONS[state].get(WallEvent.RUN_ENTERED)
        assert following is (WallState.BEFORE_START if state in listening else None)


def test_who_is_in_a_run_has_shown_itself() -> None:
    assert IN_A_RUN < SHOWN


@pytest.mark.parametrize("state", WallState)
@pytest.mark.parametrize("event", WallEvent)
def test_what_the_table_does_not_have_is_an_error_that_names_both(state: WallState, event: WallEvent) -> None:
    progress = WallProgress()
    progress.state = state
    if event in TRANSITIONS[state]:
        progress.on(event)
        assert progress.state is TRANSITIONS[state][event]
    else:
        with pytest.raises(ValueError, match=f"{event.name} cannot happen in state {state.name}"):
            progress.on(event)
        assert progress.state is state
