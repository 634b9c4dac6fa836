"""Reads a site description: YAML with its CSV files, or a resolved site as JSON. All faults at once."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from schemas.errors import Fault, InputError
from schemas.site import AnyDevice, EmsOptions, Location, Pv, PvSource, Site, Tariff, Transformer
from schemas.site.references import (
    ReferenceFault,
    case_faults,
    device_faults,
    group_faults,
    node_faults,
    profile_faults,
    profiles_of_device,
    profiles_of_source,
    profiles_of_tariff,
)
from schemas.site.wiring import Ends, nodes_of, wiring_faults
from sites.description import Case, SiteDescription
from sites.loader.box import site_path
from sites.loader.fault_locations import faults_in
from sites.loader.resolving import Resolver
from sites.loader.yaml_text import read_json, read_yaml


def load_site(path_or_name: str | Path, case: str | None = None) -> Site:
    """The site of a description, as it is or under one of its cases. Raises InputError, see `load_description`."""
    return load_description(path_or_name).under(case)


def load_description(path_or_name: str | Path) -> SiteDescription:
    """The site and its cases in a file (``.yaml``, ``.yml`` or ``.json``), in a folder's ``site.yaml``, or in the box.

    A bare word that is a name of `builtin_sites` means that one; write ``./word`` for a folder of the same name.
    Profiles are inlined: what is returned needs no file any more. Raises InputError with every fault of the
    description, each with file, field, rule and value; where the text itself cannot be read, with line and column.
    """
    path = site_path(path_or_name)
    data = read_json(path) if path.suffix == ".json" else read_yaml(path)
    if not isinstance(data, dict):
        raise InputError.one(str(path), "should be a group of fields such as site, location, devices", data)
    resolver = Resolver(path)
    resolved = resolver.resolve(data)
    faults = list(resolver.faults)
    try:
        site = SiteDescription.model_validate_json(to_json(resolved, inf_nan_mode="constants"), strict=True)
    except ValidationError as error:
        # The texts of site and network on references are told by parts below, beside the faults of fields.
        told_below = {str(path)} | ({f"{path}: network"} if isinstance(resolved.get("network"), dict) else set())
        faults += [f for f in faults_in(error, resolved, SiteDescription, str(path)) if f.where not in told_below]
        ends = _ends(resolved, resolver.unknown)
        if ends is not None:
            faults += _wiring(ends, resolved["network"].get("main_node"), resolver)
        faults += [
            Fault(f"{path}: {fault.where}", fault.what, None if fault.received is None else repr(fault.received))
            for fault in _references(resolved, None if ends is None else nodes_of(*ends))
        ]
    else:
        if not faults:
            return site
    raise InputError(faults)


def _valid(model: Any, data: Any) -> Any:
    """``data`` as ``model``; None if it is none (its faults are told elsewhere)."""
    try:
        return TypeAdapter(model).validate_json(to_json(data, inf_nan_mode="constants"), strict=True)
    except ValidationError:
        return None


def _parts(data: Any, model: Any) -> dict[str, Any]:
    """Those of a group's members that are valid."""
    if not isinstance(data, dict):
        return {}
    valid = {name: _valid(model, given) for name, given in data.items()}
    return {name: part for name, part in valid.items() if part is not None}


def _ends(data: Mapping[str, Any], unknown: set[str]) -> tuple[Ends, list[Ends]] | None:
    """Between which nodes transformer and cables stand, whatever else is wrong with them; None: not known of all."""
    network = data.get("network")
    if not isinstance(network, dict) or "network.cables" in unknown:
        return None
    transformer, cables = network.get("transformer"), network.get("cables")
    if not isinstance(transformer, dict) or not isinstance(cables, list):
        return None
    rows = [{"from_node": Transformer.model_fields["from_node"].default} | transformer, *cables]
    ends = [(row.get("from_node"), row.get("to_node")) for row in rows if isinstance(row, dict)]
    known = [(a, b) for a, b in ends if isinstance(a, str) and a and isinstance(b, str) and b]
    # An end that is not known might be what a node is missed for.
    return (known[0], known[1:]) if len(known) == len(rows) else None


def _wiring(ends: tuple[Ends, list[Ends]], main_node: Any, resolver: Resolver) -> list[Fault]:
    transformer, cables = ends
    found = []
    for fault in wiring_faults(transformer, dict(enumerate(cables)), main_node if isinstance(main_node, str) else None):
        where, what = f"{resolver.path}: network.{fault.field}", fault.what
        if resolver.cable_lines and fault.cable is not None:
            where = resolver.cable_lines[fault.cable]
            what = f"{what} [for network.cables of {resolver.path}]"
        found.append(Fault(where, what, None if fault.received is None else repr(fault.received)))
    return found


def _node(device: Any) -> str | None:
    node = device.get("node") if isinstance(device, dict) else None
    return node if isinstance(node, str) else None


def _references(data: Mapping[str, Any], nodes: Collection[str] | None) -> list[ReferenceFault]:
    """Faults between the parts that are valid by themselves; nodes of devices whatever else is wrong with them.

    ``nodes`` None: not known, and not checked.
    """
    devices = _parts(data.get("devices"), AnyDevice)
    written = list(data["devices"]) if isinstance(data.get("devices"), dict) else []
    location = _valid(Location, data.get("location"))
    tariff, ems = _valid(Tariff, data.get("tariff")), _valid(EmsOptions, data.get("ems", {}))
    cases, sources = {}, {}
    for label, case in (data.get("cases") or {}).items() if isinstance(data.get("cases"), dict) else ():
        cases[label] = _valid(Case, case)
        sources[label] = _parts(case.get("pv") if isinstance(case, dict) else None, PvSource)
    used = [] if tariff is None else profiles_of_tariff("tariff", tariff)
    for label, case in cases.items():
        if case is not None:
            used += profiles_of_tariff(f"cases.{label}.tariff", case.tariff)
        for name, source in sources[label].items():
            used += profiles_of_source(f"cases.{label}.pv.{name}", source)
    for name, device in devices.items():
        used += profiles_of_device(f"devices.{name}", device)
    profiles = data["profiles"] if isinstance(data.get("profiles"), dict) else {}
    # A device that is faulty itself may well be an inverter.
    inverters = [name for name in written if name not in devices or isinstance(devices[name], Pv)]
    at_nodes = {name: _node(data["devices"][name]) for name in written}
    return [
        *(node_faults(at_nodes, nodes) if nodes is not None else ()),
        *device_faults(devices, None if location is None else ZoneInfo(location.time_zone)),
        *profile_faults(used, profiles),
        *(group_faults(ems, written) if ems is not None else ()),
        *case_faults(sources, written, inverters),
    ]
