"""A row of the cable table, however it says what the cable is, as impedance and ampacity."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from schemas.errors import Fault, InputError, shorten
from schemas.site import Cable
from sites.loader.conductors import MAX_TEMP_C, OHM_PER_KM_20C, TYPES, Conductor, plain_type
from sites.loader.fault_locations import faults_in, place
from sites.loader.nearest import did_you_mean
from sites.written import CableOfConductor, CableOfType

_FORMS: dict[type[Cable | CableOfType | CableOfConductor], tuple[str, ...]] = {
    Cable: ("r_mohm", "x_mohm"),
    CableOfType: ("type",),
    CableOfConductor: ("material", "mm2", "insulation"),
}
"""What a row is known by. A row in a file may hold other things for its reader, such as the length of a cable of which
the impedance is given."""

FIELDS = frozenset(name for form in _FORMS for name in form.model_fields)
TEXT_FIELDS = frozenset({"from_node", "to_node", "type", "material", "insulation"})
WAYS = "r_mohm and x_mohm, or type, or material and mm2"


def ways_in(names: Mapping[str, Any] | tuple[str, ...]) -> list[type[Cable | CableOfType | CableOfConductor]]:
    """In which ways a row (or a table's columns) says what the cable is; one is right."""
    return [form for form, marks in _FORMS.items() if any(mark in names for mark in marks)]


def resolved(row: Mapping[str, Any], where: str, below: Sequence[str | int] = (), *, of_file: bool) -> dict[str, Any]:
    """The row as the data of a `Cable`. It stands at ``where``, at the path ``below``. ``of_file``: what belongs to no
    way, or to another, is for the reader.

    Raises InputError with every fault of the row; a row that gives impedance is passed on as it is.
    """
    ways = ways_in(row)
    if len(ways) != 1:
        marks = [mark for form in ways for mark in _FORMS[form] if mark in row]
        what = f"says in more than one way what the cable is: {', '.join(marks)}" if marks else "says not what it is"
        unknown = [] if of_file else [name for name in row if name not in FIELDS]
        raise InputError(
            [
                Fault(place(where, below), f"{what}; one of these is wanted: {WAYS}"),
                *(
                    Fault(
                        place(where, (*below, name)), f"unknown field{did_you_mean(name, FIELDS)}", shorten(row[name])
                    )
                    for name in unknown
                ),
            ]
        )
    (form,) = ways
    given = {name: value for name, value in row.items() if not of_file or name in form.model_fields}
    if form is Cable and not of_file:
        return given  # Checked where the site is.
    try:
        cable = form.model_validate_json(to_json(given, inf_nan_mode="constants"), strict=True)
    except ValidationError as error:
        raise InputError(faults_in(error, given, form, where, below)) from None
    if isinstance(cable, Cable):
        return given

    def fault(field: str, what: str) -> InputError:
        return InputError.one(place(where, (*below, field)), what, getattr(cable, field))

    return _by_conductor(cable, fault)


def _by_conductor(cable: CableOfType | CableOfConductor, fault: Callable[[str, str], InputError]) -> dict[str, Any]:
    conductor = _conductor(cable, fault)
    most_c = MAX_TEMP_C[conductor.insulation]
    temp_c = most_c if cable.conductor_temp_c is None else cable.conductor_temp_c
    if temp_c > most_c:
        raise fault(
            "conductor_temp_c", f"is above {most_c:g} °C, which is what {conductor.insulation} insulation bears"
        )
    km = cable.length_m / 1e3
    return {
        "from_node": cable.from_node,
        "to_node": cable.to_node,
        "r_mohm": conductor.ohm_per_km(temp_c) * km / cable.parallel * 1e3,
        "x_mohm": cable.x_ohm_per_km * km / cable.parallel * 1e3,
        "ampacity_a": conductor.ampacity_a * cable.parallel if cable.ampacity_a is None else cable.ampacity_a,
        "r0_factor": cable.r0_factor,
        "x0_factor": cable.x0_factor,
    }


def _conductor(cable: CableOfType | CableOfConductor, fault: Callable[[str, str], InputError]) -> Conductor:
    if isinstance(cable, CableOfType):
        wanted = plain_type(cable.type)
        if wanted not in TYPES:
            families = ", ".join(dict.fromkeys(name.split()[0] for name in TYPES))
            what = f"is no known type{did_you_mean(wanted, TYPES)}; there are {families} with 4 or 5 equal cores"
            raise fault("type", f"{what}; or give material and mm2")
        return TYPES[wanted]
    sections = OHM_PER_KM_20C[cable.material]
    if cable.mm2 not in sections:
        there_are = ", ".join(f"{mm2:g}" for mm2 in sections)
        raise fault("mm2", f"is no standard cross-section of {cable.material}; there are {there_are}")
    return Conductor(cable.material, cable.mm2, cable.insulation)
