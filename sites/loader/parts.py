"""First pass: every part of a site read and validated by itself, with everything that is wrong with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

from schemas.errors import Code, shorten
from schemas.site import Network
from schemas.site.network import said
from schemas.site.wiring import form_faults
from sites.description import SiteDescription
from sites.loader.cables import CableRow, read_cables
from sites.loader.fault_locations import unknown_field
from sites.loader.places import Faults, Finding, Path_, Place
from sites.loader.profiles import resolved_profile
from sites.loader.sessions import resolved_sessions
from sites.loader.tables import Tables
from sites.loader.validation import INVALID, field_types, validated

_SHOULD = "should be a group of fields"


@dataclass
class Parts:
    """A site after the first pass: its valid parts, and the text of the others."""

    written: Mapping[str, Any]
    faults: Faults
    fields: dict[str, Any] = field(default_factory=dict)
    """Valid fields of the site; of those that are groups of named members, the valid members."""
    network: dict[str, Any] = field(default_factory=dict)
    """Valid fields of the network, but the cables."""
    cables: list[CableRow] | None = None
    """None: not known."""

    def members(self, name: str) -> dict[str, Any]:
        """The valid ones of devices, profiles or cases."""
        found: dict[str, Any] = self.fields.get(name, {})
        return found

    def names(self, name: str) -> list[str]:
        """All that were written, faulty ones as well."""
        given = self.written.get(name)
        return list(given) if isinstance(given, dict) else []


def read_parts(written: Mapping[str, Any], root: Place, tables: Tables) -> Parts:
    """Reads all there is, its tables included. What is faulty is in ``faults`` and nowhere else."""
    parts = Parts(written, Faults(root))
    special = {"network": lambda given: _network(given, parts, tables)}
    resolvers = {
        "profiles": lambda given, path: _profile(given, path, parts, tables),
        "devices": lambda given, path: _device(given, path, parts, tables),
        "ghosts": lambda given, path: _device(given, path, parts, tables),
    }
    for name, given in _fields(SiteDescription, written, (), parts):
        if name in special:
            found = special[name](given)
        elif get_origin(SiteDescription.model_fields[name].annotation) is dict:
            found = _members(name, given, resolvers.get(name), parts)
        else:
            found = _valid(field_types(SiteDescription)[name], given, (name,), parts)
        if found is not INVALID:
            parts.fields[name] = found
    return parts


def _fields(model: type[BaseModel], written: Mapping[str, Any], path: Path_, parts: Parts) -> list[tuple[str, Any]]:
    """The fields that were given, in the model's order; unknown and missing ones are faults."""
    for name in written:
        if name not in model.model_fields:
            what = unknown_field(name, list(model.model_fields))
            parts.faults.add(Finding((*path, name), what, shorten(written[name]), code=Code.UNKNOWN))
    for name, info in model.model_fields.items():
        if name not in written and info.is_required():
            parts.faults.add(Finding((*path, name), "is missing", code=Code.MISSING))
    return [(name, written[name]) for name in model.model_fields if name in written]


def _valid(model: Any, given: Any, path: Path_, parts: Parts) -> Any:
    found, faults = validated(model, given, path)
    parts.faults.add(*faults)
    return found


def _members(name: str, given: Any, resolve: Callable[[Any, Path_], Any] | None, parts: Parts) -> dict[str, Any]:
    """The valid members of a group of named ones, such as devices."""
    if not isinstance(given, dict):
        parts.faults.add(Finding((name,), _SHOULD, shorten(given)))
        return {}
    info = SiteDescription.model_fields[name]
    key, member = get_args(info.annotation)
    # Names and how many there are, whatever they name.
    named: Any = dict.__class_getitem__((key, Any))
    _, wrong = validated(Annotated[(named, *info.metadata)] if info.metadata else named, dict.fromkeys(given), (name,))
    parts.faults.add(*wrong)
    found = {}
    for label, one in given.items():
        data = one if resolve is None else resolve(one, (name, label))
        if data is not INVALID:
            valid = _valid(member, data, (name, label), parts)
            if valid is not INVALID:
                found[label] = valid
    return found


def _profile(given: Any, path: Path_, parts: Parts, tables: Tables) -> Any:
    here = parts.faults.place(path)
    data, place, faults = resolved_profile(given, path, here, tables)
    if place is not None:
        parts.faults.put(path, place)
    parts.faults.add(*faults)
    return data


def _device(given: Any, path: Path_, parts: Parts, tables: Tables) -> Any:
    if not isinstance(given, dict) or "sessions" not in given:
        return given
    sessions, faults = resolved_sessions(given["sessions"], (*path, "sessions"), tables)
    parts.faults.add(*faults)
    return {**given, "sessions": sessions}


def _network(given: Any, parts: Parts, tables: Tables) -> Any:
    if not isinstance(given, dict):
        parts.faults.add(Finding(("network",), _SHOULD, shorten(given)))
        return INVALID
    for name, value in _fields(Network, given, ("network",), parts):
        if name == "cables":
            parts.cables, faults = read_cables(value, ("network", "cables"), tables)
            parts.faults.add(*faults)
        else:
            found = _valid(field_types(Network)[name], value, ("network", name), parts)
            if found is not INVALID:
                parts.network[name] = found
    for fault in form_faults(said(given)):
        received = None if fault.code is Code.MISSING else shorten(given[fault.field])
        parts.faults.add(Finding(("network", fault.field), fault.what, received, code=fault.code))
    if "cables" not in given:
        parts.cables = []
    if parts.faults or parts.cables is None:
        return INVALID
    return Network.model_construct(cables=tuple(row.cable for row in parts.cables), **parts.network)
