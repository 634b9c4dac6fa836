"""The site's network as limits of the plan: what each cable and the transformer may carry.

A stated approximation: active power only, at nominal voltage, losses behind the element left out. A cable of ampacity I
then carries √3·U·I, the transformer its rated power. Where a single-phase charger is behind the element, each phase
has a limit of its own, a third of that: three-phase devices and loads put a third of their power on it, a single-phase
charger all of its own on its phase. Together the three imply the balanced limit. The network twin measures the real
currents, and its alarms tell where the approximation is too good.

On the high-voltage side of the transformer (a delta) the phases' limits are stricter than need be: with p_a and p_c
the load of two low-voltage phases, a line carries √(p_a² + p_c² + p_a·p_c) / √3, which is within the limit if both are.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from schemas.messages import BessNameplate, ChargerNameplate, MeterNameplate, MeterRole, PvNameplate
from schemas.site import PHASES, Cable, Meter, Network, Site, phases_of
from services.ems.knowledge import Known

THIRD = 1 / len(PHASES)

UNKNOWN_METER = ""
"""A load that no meter tells by its name; it is taken to hang at the main node."""


@dataclass(frozen=True, slots=True)
class Element:
    """A cable or the transformer, and the nodes that only it connects with the PCC."""

    name: str
    limit_kw: float
    nodes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """An element, or a phase of one, that the devices behind it could overload: those that draw or give power, and the
    load meters."""

    limit_kw: float
    devices: tuple[str, ...]
    shares: tuple[float, ...]
    """Of each device's power, what counts."""
    meters: tuple[str, ...]
    load_share: float


@dataclass(frozen=True, slots=True)
class _Rating:
    """The most that a device draws and gives [kW], and whether the EMS commands it."""

    draws_kw: float
    gives_kw: float
    commanded: bool
    single_phase: bool = False


def elements_of(network: Network) -> tuple[Element, ...]:
    """Cables in the order of the table, then the transformer. A cable in a mesh is left out: its share of the power
    is not a sum of powers behind it."""
    transformer = network.transformer
    low_voltage = _reached(network, transformer.to_node, without=None, through_transformer=False)
    found = []
    for cable in network.cables:
        behind = frozenset(network.nodes) - _reached(network, transformer.from_node, without=cable)
        if behind:
            kv = transformer.low_kv if behind <= low_voltage else transformer.high_kv
            found.append(Element(cable.name, math.sqrt(3) * kv * cable.ampacity_a, behind))
    return (*found, Element("transformer", transformer.rated_kva, low_voltage))


class NetworkLimits:
    """The limits of one site. What does not depend on who is there is worked out once."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._elements = elements_of(site.network)
        self._phases = phases_of(site.devices)
        self._known: tuple[dict[str, _Rating], dict[str, float], tuple[Bottleneck, ...]] | None = None
        """Of the quarter before: ratings, loads and what follows, which seldom changes."""
        self._described_loads_kw = {
            name: _highest_kw(site, device)
            for name, device in sorted(site.devices.items())
            if isinstance(device, Meter) and device.role is MeterRole.LOAD
        }

    def bottlenecks(self, present: Mapping[str, Known]) -> tuple[Bottleneck, ...]:
        """The limits that could bind by the ratings of the devices behind them, in either direction.

        A load counts with the highest value of its profiles, one without a profile with what the connection admits.
        Of elements with the same devices and meters behind them the one with the least limit. An element with nothing
        behind it that the EMS commands is left out.
        """
        ratings = {name: rating for name, known in present.items() if (rating := _rating(known)) is not None}
        loads = self._loads_kw(present)
        if self._known is None or self._known[:2] != (ratings, loads):
            self._known = (ratings, loads, self._bottlenecks(ratings, loads))
        return self._known[2]

    def _bottlenecks(self, ratings: Mapping[str, _Rating], loads: Mapping[str, float]) -> tuple[Bottleneck, ...]:
        tightest: dict[object, Bottleneck] = {}
        for element in self._elements:
            behind = [name for name in ratings if self._node(name) in element.nodes]
            meters = tuple(name for name in loads if self._node(name) in element.nodes)
            unbalanced = any(ratings[name].single_phase for name in behind)
            for phase in range(len(PHASES)) if unbalanced else (None,):
                counted = {name: share for name in behind if (share := self._share(name, ratings[name], phase))}
                if not any(ratings[name].commanded for name in counted):
                    continue
                limit, load_share = (element.limit_kw, 1.0) if phase is None else (element.limit_kw * THIRD, THIRD)
                draws = sum(share * ratings[name].draws_kw for name, share in counted.items())
                draws += sum(load_share * loads[name] for name in meters)
                gives = sum(share * ratings[name].gives_kw for name, share in counted.items())
                same = (*counted.items(), meters, load_share)
                if max(draws, gives) > limit and (same not in tightest or limit < tightest[same].limit_kw):
                    devices, shares = tuple(counted), tuple(counted.values())
                    tightest[same] = Bottleneck(limit, devices, shares, meters, load_share)
        return tuple(tightest.values())

    def _share(self, device: str, rating: _Rating, phase: int | None) -> float:
        """What of a device's power is on ``phase``, None: on all of them. A single-phase device of which the site does
        not say the phase may be on any, and counts on each."""
        if phase is None:
            return 1.0
        if not rating.single_phase:
            return THIRD
        return float(self._phases.get(device, phase) == phase)

    def _node(self, device: str) -> str:
        described = self._site.devices.get(device)
        return self._site.network.main_node if described is None or described.node is None else described.node

    def _loads_kw(self, present: Mapping[str, Known]) -> dict[str, float]:
        unknown_kw = self._site.connection.import_limit_kw
        loads = dict(self._described_loads_kw)
        for name, known in present.items():
            plate = known.birth.nameplate
            if isinstance(plate, MeterNameplate) and plate.role is MeterRole.LOAD:
                loads.setdefault(name, unknown_kw)
        return loads or {UNKNOWN_METER: unknown_kw}


def _highest_kw(site: Site, meter: Meter) -> float:
    profiles = [profile for profile in (meter.profile, meter.forecast_profile) if profile is not None]
    return max((max(site.profiles[profile].values) for profile in profiles), default=site.connection.import_limit_kw)


def _reached(
    network: Network, start: str, without: Cable | None, *, through_transformer: bool = True
) -> frozenset[str]:
    links = [(cable.from_node, cable.to_node) for cable in network.cables if cable is not without]
    if through_transformer:
        links.append((network.transformer.from_node, network.transformer.to_node))
    reached = {start}
    while further := {node for link in links if reached & set(link) for node in link} - reached:
        reached |= further
    return frozenset(reached)


def _rating(known: Known) -> _Rating | None:
    plate = known.birth.nameplate
    if isinstance(plate, ChargerNameplate):
        gives = plate.max_discharge_kw if plate.controllable else 0.0
        return _Rating(plate.max_charge_kw, gives, plate.controllable, single_phase=plate.phases == 1)
    if isinstance(plate, BessNameplate):
        return _Rating(plate.max_charge_kw, plate.max_discharge_kw, commanded=True)
    if isinstance(plate, PvNameplate):
        return _Rating(0.0, plate.rated_kw, plate.curtailable)
    return None
