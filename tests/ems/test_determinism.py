"""A plan is a function of its run's problems, to the last bit: not of a restart, nor of what was solved before."""

import json

from schemas.messages import Plan
from services.ems.participant import Ems
from services.ems.solve import Solver
from tests.ems.small_site import IdealPlant, begin, cycle, plan_in, site

STEPS = range(0, 96)


def plans(ems: Ems, plant: IdealPlant, restore: bool = False, disturb: bool = False) -> list[Plan]:
    begin(ems, plant)
    found = []
    for step in STEPS:
        if disturb and step % 16 == 5:
            other = IdealPlant(chargers=1)
            begin(stranger := Ems(site()), other)
            for earlier in range(3):
                cycle(stranger, other, earlier)
        found.append(plan_in(cycle(ems, plant, step)))
        if restore:
            state = json.loads(json.dumps(ems.snapshot()))
            ems = Ems(site())
            ems.restore(state)
    return found


def test_a_day_restored_from_its_snapshot_every_quarter_gives_the_same_plans_to_the_last_bit() -> None:
    straight = plans(Ems(site()), IdealPlant())
    assert plans(Ems(site()), IdealPlant(), restore=True) == straight
    assert straight[50].iterations < straight[0].iterations / 10, "the day is meant to go on from its basis"


def test_plans_do_not_depend_on_what_was_solved_in_between() -> None:
    assert plans(Ems(site()), IdealPlant(), disturb=True) == plans(Ems(site()), IdealPlant())


def test_a_new_day_in_a_used_process_begins_as_in_a_fresh_one() -> None:
    first = plans(Ems(site()), IdealPlant(chargers=2))
    assert plans(Ems(site()), IdealPlant(chargers=2)) == first


def test_snapshot_is_restored_between_the_phases_of_a_cycle() -> None:
    """What was measured in this cycle is part of the state."""
    plant = IdealPlant(chargers=1)
    begin(ems := Ems(site()), plant)
    cycle(ems, plant, 0)
    again = Ems(site())
    again.restore(json.loads(json.dumps(ems.snapshot())))
    assert again.snapshot() == ems.snapshot()


def test_a_solver_that_never_solved_has_nothing_to_remember() -> None:
    solver = Solver()
    solver.restore(json.loads(json.dumps(solver.snapshot())))
    assert solver.snapshot() is None
