"""Second pass: what the parts of a site say of each other, once, whatever else is wrong with them."""

from collections.abc import Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from schemas.site import Network, Pv, Transformer
from schemas.site.ghosts import ghost_faults
from schemas.site.references import (
    ReferenceFault,
    case_faults,
    device_faults,
    feed_faults,
    group_faults,
    limit_faults,
    node_faults,
    objective_faults,
    price_faults,
    profile_faults,
    profiles_of_connection,
    profiles_of_device,
    profiles_of_source,
    profiles_of_tariff,
    request_faults,
    sources_of,
    weather_faults,
)
from schemas.site.wiring import Ends, Trunk, nodes_of, wiring_faults
from sites.loader.parts import Parts
from sites.loader.places import Finding, Path_


def check_references(parts: Parts) -> None:
    """Adds to the faults of the parts."""
    ends = _ends(parts)
    if ends is not None:
        parts.faults.add(*_wiring(parts, *ends))
    nodes = None if ends is None else nodes_of(ends[0], list(ends[1].values()))
    parts.faults.add(
        *(
            Finding(
                path_of(fault.where),
                fault.what,
                None if fault.received is None else repr(fault.received),
                code=fault.code,
            )
            for fault in _references(parts, nodes)
        )
    )


def path_of(dotted: str) -> Path_:
    """``devices.ev1.node`` as a path; numbers are places in lists."""
    return tuple(int(part) if part.isdigit() else part for part in dotted.split("."))


def _ends(parts: Parts) -> tuple[Trunk, dict[int, Ends]] | None:
    """Between which nodes transformer and cables stand, whatever else is wrong with them; None: not known of all.

    An end that is not known might be what a node is missed for.
    """
    if "network" not in parts.written:
        return Network().trunk, {}
    network, rows = parts.written["network"], parts.cables
    if not isinstance(network, dict) or rows is None:
        return None
    cables = {index: row.ends for index, row in enumerate(rows) if row.ends is not None}
    trunk = _trunk(network)
    return None if trunk is None or len(cables) < len(rows) else (trunk, cables)


def _trunk(network: Mapping[str, Any]) -> Trunk | None:
    """Nodes that a network begins with, as it was written; None: not known."""
    given = network.get("transformer")
    if given is None:
        pcc = network.get("pcc_node", Network.model_fields["pcc_node"].default)
        return (pcc,) if isinstance(pcc, str) and pcc else None
    if not isinstance(given, dict):
        return None
    high, low = given.get("from_node", Transformer.model_fields["from_node"].default), given.get("to_node")
    if not (isinstance(high, str) and high and isinstance(low, str) and low):
        return None
    return high, low


def _wiring(parts: Parts, trunk: Trunk, cables: dict[int, Ends]) -> Iterator[Finding]:
    given: Any = parts.written.get("network", {})
    main_node = given.get("main_node")
    rows = parts.cables or []
    for fault in wiring_faults(trunk, cables, main_node if isinstance(main_node, str) else None):
        received = None if fault.received is None else repr(fault.received)
        row = None if fault.cable is None else rows[fault.cable]
        if row is not None and row.place is not None:
            yield Finding(row.path, fault.what, received, row.place, code=fault.code)
        else:
            yield Finding(("network", *path_of(fault.field)), fault.what, received, code=fault.code)


def _references(parts: Parts, nodes: tuple[str, ...] | None) -> Iterator[ReferenceFault]:
    """``nodes`` None: not known, and not checked."""
    devices, written = parts.members("devices"), parts.names("devices")
    if nodes is not None:
        yield from node_faults({name: _node(parts, name) for name in written}, nodes)
    location = parts.fields.get("location")
    zone = None if location is None else ZoneInfo(location.time_zone)
    yield from device_faults(devices, zone)
    yield from ghost_faults(parts.members("ghosts"), devices, zone)
    tariffs = {"tariff": parts.fields["tariff"]} if "tariff" in parts.fields else {}
    cases = parts.members("cases")
    tariffs |= {f"cases.{label}.tariff": case.tariff for label, case in cases.items()}
    used = [use for where, tariff in tariffs.items() for use in profiles_of_tariff(where, tariff)]
    if "connection" in parts.fields:
        used += profiles_of_connection("connection", parts.fields["connection"])
    for label, case in cases.items():
        for name, source in case.pv.items():
            used += profiles_of_source(f"cases.{label}.pv.{name}", source)
    for name, device in devices.items():
        used += profiles_of_device(f"devices.{name}", device)
    yield from profile_faults(used, parts.names("profiles"))
    yield from feed_faults(parts.members("feeds"), parts.names("profiles"))
    yield from price_faults(tariffs, parts.members("profiles"))
    sources = sources_of(devices, {label: case.pv for label, case in cases.items()})
    yield from weather_faults(sources, used, parts.members("profiles"))
    if "ems" in parts.fields:
        yield from group_faults(parts.fields["ems"], written)
        yield from request_faults(parts.fields["ems"], written, parts.names("limits"))
        if "connection" in parts.fields:
            yield from objective_faults(parts.fields["ems"], parts.fields["connection"])
    yield from limit_faults(parts.members("limits"), parts.fields.get("ems"), written)
    # A device that is faulty itself may well be an inverter.
    inverters = [name for name in written if name not in devices or isinstance(devices[name], Pv)]
    yield from case_faults({label: case.pv for label, case in cases.items()}, written, inverters)


def _node(parts: Parts, name: str) -> str | None:
    device: Any = parts.written["devices"][name]
    node = device.get("node") if isinstance(device, dict) else None
    return node if isinstance(node, str) else None
