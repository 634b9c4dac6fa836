"""The site's network as limits of the plan: what each cable and the transformer may carry.

A stated approximation, at nominal voltage: a cable of ampacity I carries √3·U·I, the transformer its rated power. Of
that apparent power S the reactive power Q of the meters behind leaves √(S² − Q²) for active power; what the transformer
and the cables' reactances take is left out. Behind the transformer the network's measured losses count along, behind a
cable they do not. Where a single-phase charger is behind the element, each phase has a limit of its own, a third of
that: three-phase devices and loads put a third of their power on it, a single-phase charger all of its own on its
phase. A charger that switches its phases counts as one on three, see `services.ems.phases.within_network`. Together
the three imply the balanced limit. The network twin measures the real currents, and its alarms tell where the
approximation is too good.

On the high-voltage side of the transformer (a delta) the phases' limits are stricter than need be: with p_a and p_c
the load of two low-voltage phases, a line carries √(p_a² + p_c² + p_a·p_c) / √3, which is within the limit if both are.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from schemas.capabilities import Capability, Group, group_of
from schemas.messages import ChargerNameplate, MeterRole, Nameplate
from schemas.site import PHASES, Meter, Network, Site, phases_of, switched_phases_of
from schemas.site.ratings import TRANSFORMER, elements_of
from schemas.sums import sum_in_order
from services.ems.stores import Array
from services.ems.system_state import DeviceState

THIRD = 1 / len(PHASES)

UNKNOWN_METER = ""
"""A load that no meter tells by its name. It is at the main node, or where the site describes load meters: it counts
wherever it may be, and makes room for power that is given only where all these places are."""


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """An element, or a phase of one, that the devices behind it could overload: those that draw or give power, and the
    load meters."""

    element: str
    limit_kw: float
    devices: tuple[str, ...]
    shares: tuple[float, ...]
    """The share of each device's power that counts."""
    meters: tuple[str, ...]
    load_shares: tuple[float, ...]
    """The share of each meter's power that counts."""
    losses_share: float
    reactive: tuple[float, ...] = ()
    """Reactive power per active power of each meter [kvar/kW]."""
    perhaps: bool = False
    """The load of `UNKNOWN_METER` may be behind it or not."""
    losses: bool = False
    """The network's losses are behind it."""
    of_phase: bool = False
    """It is a phase of the element."""
    switched: tuple[str, ...] = ()
    """Chargers that may be on this phase alone."""

    def reserved_kw(self, kvar: Array) -> Array:
        """The part of the limit that reactive power takes; ``kvar``: as much of it as counts."""
        room: Array = np.sqrt(np.maximum(self.limit_kw**2 - kvar**2, 0.0))
        return self.limit_kw - room


@dataclass(frozen=True, slots=True)
class _Rating:
    """The most that a device draws and gives [kW], and whether the EMS commands it."""

    draws_kw: float
    gives_kw: float
    commanded: bool
    single_phase: bool = False
    one_phase_kw: float = 0.0
    """The most that a charger draws on one phase that switches its phases; 0: it does not."""


class NetworkLimits:
    """The limits of one site. What does not depend on who is there is worked out once."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._elements = elements_of(site.network)
        self._phases = phases_of(site.devices)
        self._switched = switched_phases_of(site.devices)
        self._most_losses_kw = _most_losses_kw(site.network)
        self._known: tuple[dict[str, Nameplate], set[str], tuple[Bottleneck, ...]] | None = None
        """Data of the settlement period before: nameplates, names of the loads and what follows; they seldom change."""
        self._described_loads_kw = {
            name: _highest_kw(site, device)
            for name, device in sorted(site.devices.items())
            if isinstance(device, Meter) and device.role is MeterRole.LOAD
        }

    def bottlenecks(self, present: Mapping[str, DeviceState], loads: Collection[str]) -> tuple[Bottleneck, ...]:
        """The limits that could bind by the ratings of the devices behind them, in either direction. ``loads``: names
        of the loads that are known.

        A load counts with the highest value of its profiles, one without a profile with what the connection admits.
        Of elements with the same devices and meters behind them the one with the least limit. An element with nothing
        behind it that the EMS commands is left out.
        """
        plates = {name: known.birth.nameplate for name, known in present.items()}
        names = set(loads)
        if self._known is None or self._known[0] != plates or self._known[1] != names:
            ratings = {name: rating for name, plate in plates.items() if (rating := _rating(plate)) is not None}
            self._known = (plates, names, self._bottlenecks(ratings, self._loads_kw(plates, names)))
        return self._known[2]

    def _bottlenecks(self, ratings: Mapping[str, _Rating], loads: Mapping[str, float]) -> tuple[Bottleneck, ...]:
        tightest: dict[object, Bottleneck] = {}
        for element in self._elements:
            behind = [name for name in ratings if self._node(name) in element.nodes]
            behind_it = tuple(name for name in loads if self._nodes(name) & element.nodes)
            losses = element.name == TRANSFORMER
            unbalanced = any(self._is_single(name, ratings[name]) or ratings[name].one_phase_kw for name in behind)
            unbalanced = unbalanced or any(name in self._phases for name in behind_it)
            for phase in range(len(PHASES)) if unbalanced else (None,):
                counted = {name: share for name in behind if (share := self._share(name, ratings[name], phase))}
                if not any(ratings[name].commanded for name in counted):
                    continue
                limit, losses_share = (element.limit_kw, 1.0) if phase is None else (element.limit_kw * THIRD, THIRD)
                load_shares = {name: share for name in behind_it if (share := self._load_share(name, phase))}
                meters = tuple(load_shares)
                reactive = tuple(self._reactive(name) for name in meters)
                perhaps = UNKNOWN_METER in meters and not self._nodes(UNKNOWN_METER) <= element.nodes
                draws = sum_in_order(share * ratings[name].draws_kw for name, share in counted.items())
                draws += sum_in_order(share * loads[name] for name, share in load_shares.items())
                draws += losses_share * self._most_losses_kw if losses else 0.0
                switched = tuple(name for name in counted if self._may_be_on(name, ratings[name], phase))
                draws += sum_in_order(ratings[name].one_phase_kw * 2 * THIRD for name in switched)
                gives = sum_in_order(share * ratings[name].gives_kw for name, share in counted.items())
                found = Bottleneck(
                    element.name,
                    limit,
                    tuple(counted),
                    tuple(counted.values()),
                    meters,
                    tuple(load_shares.values()),
                    losses_share,
                    reactive,
                    perhaps,
                    losses,
                    phase is not None,
                    switched,
                )
                kvar = sum_in_order(
                    share * loads[name] * own for (name, share), own in zip(load_shares.items(), reactive, strict=True)
                )
                room = limit - float(found.reserved_kw(np.array(kvar)))
                same = (*counted.items(), *load_shares.items(), losses_share, perhaps, switched)
                if max(draws, gives) > room and (same not in tightest or limit < tightest[same].limit_kw):
                    tightest[same] = found
        return tuple(tightest.values())

    def _share(self, device: str, rating: _Rating, phase: int | None) -> float:
        """What of a device's power is on ``phase``, None: on all of them. A single-phase device of which the site does
        not say the phase may be on any, and counts on each."""
        if phase is None:
            return 1.0
        if not self._is_single(device, rating):
            return THIRD
        return float(self._phases.get(device, phase) == phase)

    def _may_be_on(self, device: str, rating: _Rating, phase: int | None) -> bool:
        """Whether a charger may be on this phase alone; on each, if the site does not say on which."""
        return bool(rating.one_phase_kw) and phase is not None and self._switched.get(device, phase) == phase

    def _is_single(self, device: str, rating: _Rating) -> bool:
        """By its nameplate, or as the site describes it."""
        return rating.single_phase or device in self._phases

    def _load_share(self, meter: str, phase: int | None) -> float:
        """The same of a load."""
        if phase is None:
            return 1.0
        return float(self._phases[meter] == phase) if meter in self._phases else THIRD

    def _node(self, device: str) -> str:
        described = self._site.devices.get(device)
        return self._site.network.main_node if described is None or described.node is None else described.node

    def _nodes(self, meter: str) -> frozenset[str]:
        """Where a load is, or may be."""
        if meter != UNKNOWN_METER:
            return frozenset({self._node(meter)})
        return frozenset({self._site.network.main_node, *map(self._node, self._described_loads_kw)})

    def _reactive(self, meter: str) -> float:
        """Power of a load without a description: the most that a described one draws [kW]."""
        names = self._described_loads_kw if meter == UNKNOWN_METER else (meter,)
        described = [self._site.devices.get(name) for name in names]
        factors = [device.power_factor for device in described if isinstance(device, Meter)]
        return max((math.tan(math.acos(factor)) for factor in factors), default=0.0)

    def _loads_kw(self, plates: Mapping[str, Nameplate], loads: set[str]) -> dict[str, float]:
        """The highest values of the loads, of those that nobody tells by name together."""
        unknown_kw = self._site.connection.import_limit_kw
        if loads == {UNKNOWN_METER}:
            return {UNKNOWN_METER: sum_in_order(self._described_loads_kw.values()) or unknown_kw}
        highest = dict(self._described_loads_kw)
        for name, plate in plates.items():
            if group_of(plate.capabilities) is Group.LOAD:
                highest.setdefault(name, unknown_kw)
        if UNKNOWN_METER in loads or not highest:
            highest[UNKNOWN_METER] = unknown_kw
        return highest


def _highest_kw(site: Site, meter: Meter) -> float:
    profiles = [profile for profile in (meter.profile, meter.forecast_profile) if profile is not None]
    return max((max(site.profiles[profile].values) for profile in profiles), default=site.connection.import_limit_kw)


def _most_losses_kw(network: Network) -> float:
    """With every element at its limit."""
    transformer = network.transformer
    cables = sum_in_order(3 * cable.ampacity_a**2 * cable.r_mohm / 1e6 for cable in network.cables)
    if transformer is None:
        return cables
    return transformer.iron_loss_kw + transformer.vkr_frac * transformer.rated_kva + cables


def _rating(plate: Nameplate) -> _Rating | None:
    if not plate.draws_kw and not plate.gives_kw:
        return None
    single_phase = Capability.SINGLE_PHASE in plate.capabilities
    switch = plate.phase_switch if isinstance(plate, ChargerNameplate) else None
    one_phase_kw = 0.0 if switch is None else switch.max_charge_kw
    return _Rating(plate.draws_kw, plate.gives_kw, plate.commanded, single_phase, one_phase_kw)
