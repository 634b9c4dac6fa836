"""The clauses of the contract for a device in wall time, each with an identifier that does not change.

`docs/topics.md` prints them, `twinswarm conform` judges a device by them (`services.conformance`).
"""

from enum import StrEnum


class Clause(StrEnum):
    """A promise of a device that a peer can see from outside. A number that was given is never given anew."""

    BIRTH = "B1"
    STATE = "B2"
    WILL = "B3"
    CONTENT = "M1"
    NUMBERING = "M2"
    IDENTITY = "M3"
    RUN = "M4"
    PERIOD = "T1"
    CLOCK = "T2"
    REGISTERS = "R1"
    ENERGY = "R2"
    ANSWER = "S1"
    CLIP = "S2"
    APPLIED = "S3"
    FOLLOWED = "S4"
    EXPIRY = "S5"
    AHEAD = "S6"
    EPOCH = "S7"
    OVER = "S8"
    WRONG_FIELD = "S9"
    DUPLICATE = "S10"
    NOT_OF_CONTRACT = "S11"
    OTHER_RUN = "S12"
    TOO_LONG = "S13"
    BACK = "C1"
    EXPIRY_ALONE = "C2"

    @property
    def text(self) -> str:
        """The promise in a sentence."""
        return _TEXTS[self]


_TEXTS = {
    Clause.BIRTH: "Its birth is retained, of the contract, and names the nameplate of the topic's kind.",
    Clause.STATE: "Its retained state is `online` and of the birth's `boot` while it is there.",
    Clause.WILL: "When its connection breaks, its last will says `offline`: retained, with `seq` 0 and the birth's "
    "`boot`.",
    Clause.CONTENT: "Every message that it publishes is of the contract.",
    Clause.NUMBERING: "`seq` counts from 1 per boot and topic, without gaps, also over a broken connection.",
    Clause.IDENTITY: "The same (`boot`, topic, `seq`) means the same bytes.",
    Clause.RUN: "Its messages name the run that goes on, or none; a new run is a new life, with a `boot` of its own.",
    Clause.PERIOD: "Telemetry comes at least every three of the birth's `telemetry_period_s`.",
    Clause.CLOCK: "`ts` of telemetry is the run's time, by less than a minute, and does not go back.",
    Clause.REGISTERS: "Within a life no register of energy goes back.",
    Clause.ENERGY: "Registers count what flows: import and export grow by power times time.",
    Clause.ANSWER: "Every set-point is answered by an `ack` with its `id`, once.",
    Clause.CLIP: "A set-point outside the nameplate is clipped to it: what the `ack` says is applied lies within, and "
    "a `reason` says so.",
    Clause.APPLIED: "A set-point within the nameplate is accepted; where what is applied is less, a `reason` says why.",
    Clause.FOLLOWED: "What the `ack` says is applied flows, after dead time and ramp, with the contract's sign.",
    Clause.EXPIRY: "A set-point holds until `valid_until` and no longer: then its `fallback` does.",
    Clause.AHEAD: "A set-point is not followed before its `valid_from`; the one before it holds until then.",
    Clause.EPOCH: "An epoch below the highest seen is refused, as is one more than 1,000,000 above it.",
    Clause.OVER: "A set-point whose `valid_until` has passed is refused.",
    Clause.WRONG_FIELD: "A device with a power refuses `limit_kw`, a PV inverter refuses `power_kw`.",
    Clause.DUPLICATE: "A set-point that comes twice is obeyed and answered once.",
    Clause.NOT_OF_CONTRACT: "A set-point that is not of the contract, one with an unknown field among them, changes "
    "nothing and is not accepted.",
    Clause.OTHER_RUN: "A set-point of another run changes nothing and is not accepted.",
    Clause.TOO_LONG: "A set-point that ends more than 48 h after it came is refused.",
    Clause.BACK: "After a broken connection it comes back by itself within 30 s: birth and state again, and set-points "
    "are answered.",
    Clause.EXPIRY_ALONE: "Without a connection a set-point ends all the same, and its `fallback` holds.",
}
