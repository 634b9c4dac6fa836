"""The structure of a model: all that stands in its matrix. Problems of one structure differ in bounds and costs."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from schemas.participant import Json
from services.ems.instance import Instance

if TYPE_CHECKING:
    from services.ems.terms.base import Term


@dataclass(frozen=True, slots=True)
class Structure:
    """The window, the chargers' slots and the shape of every term. Hashable.

    ``steps`` may exceed a problem's: the model keeps the steps that have passed, as zeros.
    """

    steps: int
    step_s: int
    slots: tuple[int, ...]
    shapes: tuple[Hashable, ...]
    """One per term, in the order of `services.ems.terms.TERMS`."""


def structure_of(instance: Instance, terms: Sequence[Term[Any]]) -> Structure:
    """The structure that a problem asks for."""
    problem = instance.problem
    shapes = tuple(term.shape(instance) for term in terms)
    return Structure(problem.steps, problem.step_s, instance.slots, shapes)


def covers(have: Structure, want: Structure, terms: Sequence[Term[Any]]) -> bool:
    """Whether a problem fits a structure made for an earlier one: fewer steps and fewer binaries do no harm."""
    return (
        want.steps <= have.steps
        and (want.step_s, want.slots) == (have.step_s, have.slots)
        and all(term.covers(h, w) for term, h, w in zip(terms, have.shapes, want.shapes, strict=True))
    )


@cache
def _adapter(shape_type: Any) -> TypeAdapter[Any]:
    """Made once: that takes longer than all that it is then used for, and a snapshot is taken in every phase."""
    return TypeAdapter(shape_type)


def structure_to_json(structure: Structure, terms: Sequence[Term[Any]]) -> Json:
    shapes = {
        term.name: _adapter(term.shape_type).dump_python(shape, mode="json")
        for term, shape in zip(terms, structure.shapes, strict=True)
    }
    return {"steps": structure.steps, "step_s": structure.step_s, "slots": list(structure.slots), "shapes": shapes}


def structure_from_json(state: Json, terms: Sequence[Term[Any]]) -> Structure:
    """Raises KeyError and ValidationError where another version of the terms wrote it."""
    shapes = tuple(_adapter(term.shape_type).validate_python(state["shapes"][term.name]) for term in terms)
    return Structure(state["steps"], state["step_s"], tuple(state["slots"]), shapes)
