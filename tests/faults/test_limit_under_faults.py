"""A limit from outside under every single fault of the swarm, in lock-step in memory: 0 kWh above it.

Each participant is in turn dead, silent, deaf, not heard by the EMS, without set-points or without acks while a limit
binds. Energy is counted at the twins themselves, not by what anybody heard.

Left out: the recorder, which has no part in control, and the clock, without which no period begins. A load that is
dead or silent to all is missing at the simulated PCC, too, which is the sum of what is heard; at a site it is measured
there, which is the load that the EMS alone does not hear. A dead twin does not integrate, so it is dead for good.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from runtime.in_memory import run_direct
from schemas.cycle import Course
from schemas.messages import Phase
from schemas.participant import Outgoing, Participant, Received, Turn
from schemas.site import Site
from schemas.topics import Channel, Kind, Topic
from schemas.wrapped import Wrapped
from services.clock.lockstep import lockstep_run
from services.limiter.limiter import Demand, Limiter
from twinswarm.simulation.compose import maker

T0 = datetime(2024, 5, 17, 4, tzinfo=UTC)
STEP = timedelta(minutes=15)
CYCLES, BINDS_FROM, FAULT, BACK = 16, 3, 7, 11
"""The limit is made in the third period; the fault comes in the seventh and, where it ends, ends in the eleventh."""
LIMIT_KW, EXPORT_LIMIT_KW = 14.0, 6.0
MAX_BESS_KW = 10.0
CHARGER = {
    "kind": "charger",
    "max_charge_kw": 11,
    "sessions": [
        {
            "vehicle": "car",
            "arrival": datetime(2024, 5, 17, 3, tzinfo=UTC),
            "departure": datetime(2024, 5, 17, 8, 30, tzinfo=UTC),
            "capacity_kwh": 60,
            "arrival_soc_frac": 0.2,
            "target_soc_frac": 0.9,
        }
    ],
}


def site() -> Site:
    """A load of 10 kW, a battery, a V2G and a one-way charger with cars that want more than the limit leaves, PV."""
    pv = {"type": "power", "profile": "sun"}
    return Site.model_validate(
        {
            "site": "limited",
            "date": date(2024, 5, 17),
            "location": {"latitude_deg": 45.0, "longitude_deg": 8.0},
            "connection": {"import_limit_kw": 100, "export_limit_kw": 100},
            "tariff": {"sale": "price", "spread_eur_per_kwh": 0.02},
            "devices": {
                "bess": {
                    "kind": "bess",
                    "capacity_kwh": 20,
                    "max_charge_kw": MAX_BESS_KW,
                    "max_discharge_kw": MAX_BESS_KW,
                },
                "ev1": CHARGER | {"max_discharge_kw": 11},
                "ev2": CHARGER,
                "load": {"kind": "meter", "profile": "base"},
                "pv": {"kind": "pv", "rated_kw": 5, "source": pv, "forecast": pv},
            },
            "profiles": {
                "price": {"type": "day", "values": (0.05, 0.05)},
                "base": {"type": "day", "values": (10.0,)},
                "sun": {"type": "day", "values": (1.0,)},
            },
        }
    )


def sunny() -> Site:
    """The same with an inverter that produces more than may be exported."""
    described = site().model_dump(exclude_unset=True)
    pv = {"type": "power", "profile": "sun"}
    described["devices"]["pv"] |= {"rated_kw": 55, "source": pv, "forecast": pv}
    described["profiles"]["sun"] = {"type": "day", "values": (50.0,)}
    return Site.model_validate(described)


SITES = {"import": site, "export": sunny}
LIMITS_KW = {"import": LIMIT_KW, "export": EXPORT_LIMIT_KW}


class Faulty(Wrapped[Participant]):
    """A participant behind a fault: what it sends and hears may be lost, and it may do nothing at all."""

    def __init__(self, inner: Participant) -> None:
        super().__init__(inner)
        self.hears: Callable[[int, Received], bool] = lambda n, message: True
        self.sends: Callable[[int, Outgoing], bool] = lambda n, message: True
        self.lives: Callable[[int], bool] = lambda n: True
        self.registers: list[tuple[int, float]] = []
        """By cycle, energy imported less exported [kWh], by the participant itself."""

    def act(self, turn: Turn, inbox: Sequence[Received]) -> list[Outgoing]:
        if not self.lives(turn.n):
            return []
        sent = list(self.inner.act(turn, [message for message in inbox if self.hears(turn.n, message)]))
        for message in sent:
            if message.topic.channel is Channel.TELEMETRY and turn.phase is Phase.SENSE:
                body: Any = message.body
                self.registers.append((turn.n, (body.energy_import_kwh or 0.0) - (body.energy_export_kwh or 0.0)))
        return [message for message in sent if self.sends(turn.n, message)]


Fault = Callable[[Mapping[str, Faulty], str, int], None]


def silent(found: Mapping[str, Faulty], name: str, until: int) -> None:
    """Nobody hears it; it goes on by itself."""
    found[name].sends = lambda n, message: not FAULT <= n < until


def deaf(found: Mapping[str, Faulty], name: str, until: int) -> None:
    """It hears nobody."""
    found[name].hears = lambda n, message: not FAULT <= n < until


def dead(found: Mapping[str, Faulty], name: str, until: int) -> None:
    """It does nothing."""
    found[name].lives = lambda n: not FAULT <= n < until


def without_setpoints(found: Mapping[str, Faulty], name: str, until: int) -> None:
    found[name].hears = lambda n, m: not (FAULT <= n < until and m.topic.channel is Channel.SETPOINT)


def without_acks(found: Mapping[str, Faulty], name: str, until: int) -> None:
    found[name].sends = lambda n, m: not (FAULT <= n < until and m.topic.channel is Channel.ACK)


def unheard_by_the_ems(found: Mapping[str, Faulty], name: str, until: int) -> None:
    found["ems"].hears = lambda n, m: not (FAULT <= n < until and m.topic.device == name)


def never_a_limit(found: Mapping[str, Faulty], name: str, until: int) -> None:
    found[name].lives = lambda n: False


NAMES = ("bess", "ev1", "ev2", "load", "pv", "network", "ems", "forecast", "tariff", "limiter")


def above_by_period(fault: Fault | None, name: str, until: int, way: str = "import") -> dict[int, float]:
    """Energy above the limit [kWh] by the cycle at which its period ends; powers of all devices, without losses.

    The reaction time is one period: the limit's first does not count. Nor does the last before the fault: a dead device
    has not measured it.
    """
    described, limit_kw = SITES[way](), LIMITS_KW[way]
    limiter = Limiter(
        "limited",
        "limiter",
        Demand("operator", begins=T0 + BINDS_FROM * STEP, length=timedelta(hours=12), heartbeat_s=900.0,
               **{f"{way}_kw": limit_kw, f"failsafe_{way}_kw": limit_kw}),
    )  # fmt: skip
    found = {each: Faulty(maker(described, each)()) for each in NAMES if each != "limiter"}
    found["limiter"] = Faulty(limiter)
    if fault is not None:
        fault(found, name, until)
    course = Course(T0, T0 + CYCLES * STEP, 900)
    run = "20240517T040000.000000Z-0001"
    announcement = Topic("limited", Kind.CLOCK, "clock", Channel.RUN), lockstep_run(course, T0)
    run_direct(list(found.values()), course, run, announcement)
    total: dict[int, float] = {}
    for each in ("bess", "ev1", "ev2", "load", "pv"):
        registers = dict(found[each].registers)
        last = 0.0
        for n in range(1, CYCLES + 2):
            now = registers.get(n, last)
            total[n] = total.get(n, 0.0) + now - last
            last = now
    sign = 1 if way == "import" else -1
    above = {n: sign * kwh - limit_kw / 4 for n, kwh in total.items() if n > BINDS_FROM + 2 and n != FAULT}
    return {n: kwh for n, kwh in above.items() if kwh > 1e-6}


def above_kwh(fault: Fault | None, name: str, until: int, way: str = "import") -> float:
    """All of it together."""
    return sum(above_by_period(fault, name, until, way).values())


FOR_GOOD = CYCLES + 2


@pytest.mark.parametrize("until", [FOR_GOOD, BACK], ids=["for-good", "and-back"])
@pytest.mark.parametrize(
    "fault", [deaf, without_setpoints, without_acks, unheard_by_the_ems], ids=lambda fault: fault.__name__
)
def test_no_kwh_is_above_the_limit_under_a_single_fault(fault: Fault, until: int) -> None:
    names = [name for name in NAMES if not (name == "bess" and fault in (deaf, without_setpoints))]
    assert {name: above_kwh(fault, name, until) for name in names} == dict.fromkeys(names, 0.0)


@pytest.mark.parametrize("until", [FOR_GOOD, BACK], ids=["for-good", "and-back"])
@pytest.mark.parametrize("fault", [deaf, without_setpoints], ids=lambda fault: fault.__name__)
def test_a_battery_that_hears_no_set_points_is_counted_on_for_the_period_alone_in_which_it_goes_deaf(
    fault: Fault, until: int
) -> None:
    """Its first lost set-point is known to be lost when its answer is missing: the reaction time of one period."""
    found = above_by_period(fault, "bess", until)
    assert set(found) <= {FAULT + 1}
    assert sum(found.values()) <= MAX_BESS_KW / 4


@pytest.mark.parametrize("until", [FOR_GOOD, BACK], ids=["for-good", "and-back"])
@pytest.mark.parametrize("name", ["bess", "ev1", "ev2", "pv"])
def test_nor_is_a_limit_of_export_exceeded_for_longer_by_what_hears_no_set_points(name: str, until: int) -> None:
    assert set(above_by_period(without_setpoints, name, until, "export")) <= {FAULT + 1}


@pytest.mark.parametrize(
    ("fault", "until"),
    [(silent, FOR_GOOD), (silent, BACK), (dead, FOR_GOOD)],
    ids=["silent", "silent-and-back", "dead"],
)
def test_nor_with_one_that_is_silent_or_dead(fault: Fault, until: int) -> None:
    names = [name for name in NAMES if name != "load"]
    assert {name: above_kwh(fault, name, until) for name in names} == dict.fromkeys(names, 0.0)


def test_the_limit_binds() -> None:
    """Without a limiter the cars draw more; with it, and without a fault, nobody does."""
    assert above_kwh(None, "", 0) == 0.0
    assert above_kwh(never_a_limit, "limiter", FOR_GOOD) > 10.0
    assert above_kwh(None, "", 0, "export") == 0.0
    assert above_kwh(never_a_limit, "limiter", FOR_GOOD, "export") > 5.0
