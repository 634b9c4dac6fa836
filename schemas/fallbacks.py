"""What the devices of a site draw and give together when no EMS speaks, against what connection, groups and network
may carry.

Without set-points, at the start too, every device follows its fallback. The sum of these is known from births or from
the site's description. Loads count with the highest value of their profile for import, with none for export; a load
without a profile counts as nothing, for nobody knows it. The network's losses are left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from schemas.capabilities import Capability
from schemas.errors import Code, Fault
from schemas.messages import Fallback, MeterRole, Nameplate
from schemas.site import PHASES, Charger, Meter, Site, phases_of, switched_phases_of
from schemas.site.ratings import elements_of
from schemas.sums import sum_in_order

ROUNDING_KW = 1e-6
NAMED_MOST = 12
"""So many devices are named, those with the most power first."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The most that a device draws and gives without set-points [kW, magnitudes]."""

    draws_kw: float
    gives_kw: float
    commanded: bool
    """False: no fallback changes it, and no limit from outside."""
    single_phase: bool = False


@dataclass(frozen=True, slots=True)
class Scope:
    """Devices that share a limit [kW]. ``devices`` None: all of them. ``where``: the limit's field in the site."""

    name: str
    where: str
    devices: frozenset[str] | None
    import_kw: float
    export_kw: float
    phase: int | None = None
    """Of three phases this one alone."""


@dataclass(frozen=True, slots=True)
class Excess:
    """Powers that are together above a limit. ``fixed_kw``: what of them no set-point changes."""

    scope: Scope
    way: str
    kw: float
    limit_kw: float
    fixed_kw: float
    parts: Mapping[str, float]
    """By device, the loads included [kW]."""

    @property
    def field(self) -> str:
        """The limit's field in the site."""
        return f"connection.{self.way}_limit_kw" if self.scope.where == "connection" else self.scope.where

    @property
    def text(self) -> str:
        largest = sorted(self.parts.items(), key=lambda part: (-part[1], part[0]))
        named = ", ".join(f"{name} {kw:.4g}" for name, kw in largest[:NAMED_MOST])
        more = "" if len(largest) <= NAMED_MOST else f" and {len(largest) - NAMED_MOST} more"
        verb = "draw" if self.way == "import" else "give"
        allowed_kw = max(self.limit_kw - self.fixed_kw, 0.0)
        remedy = (
            f"the fallbacks of the devices that take set-points may have {allowed_kw:.4g} kW in all; say "
            "fallback: idle or, of a charger, a lower fallback_kw"
            if self.kw > self.fixed_kw
            else "none of them takes set-points"
        )
        return (
            f"without an EMS the devices together {verb} up to {self.kw:.4g} kW ({named}{more}), and {self.scope.name} "
            f"allows {self.limit_kw:.4g} kW: {remedy}"
        )


def behaviour(plate: Nameplate, fallback: Fallback) -> Behaviour:
    """The behaviour of a device with this nameplate on this fallback."""
    return Behaviour(
        plate.draws_on(fallback),
        plate.gives_on(fallback),
        plate.commanded,
        Capability.SINGLE_PHASE in plate.capabilities,
    )


def described(site: Site) -> dict[str, Behaviour]:
    """Behaviours of the devices of a site as its twins have them."""
    return {name: behaviour(device.nameplate, device.reverts_to) for name, device in site.devices.items()}


def fallback_faults(site: Site) -> list[Fault]:
    """A fault for every limit that the described fallbacks are above."""
    excesses = FallbackLimits(site).excesses(described(site))
    return [Fault(excess.field, excess.text, f"{excess.limit_kw:g}", code=Code.CONFLICT) for excess in excesses]


class FallbackLimits:
    """The limits of one site that its fallbacks have to keep to."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._phases = phases_of(site.devices)
        self._switched = switched_phases_of(site.devices)
        self._one_phase_kw = {
            name: max(switch.max_charge_kw, device.min_power_kw)
            for name, device in site.devices.items()
            if isinstance(device, Charger) and (switch := device.stated_phase_switch) is not None
        }
        self._loads_kw = {
            name: max(site.profiles[device.profile].values)
            for name, device in site.devices.items()
            if isinstance(device, Meter) and device.role is MeterRole.LOAD and device.profile is not None
        }
        connection = site.connection
        self._scopes = [
            Scope(
                "the connection",
                "connection",
                None,
                connection.import_limit_kw,
                connection.export_limit_kw,
            ),
            *(
                Scope(
                    f"the group {group.name or index + 1} of cable_limits",
                    f"ems.cable_limits.{index}.limit_kw",
                    frozenset(group.devices),
                    group.limit_kw,
                    group.limit_kw,
                )
                for index, group in enumerate(site.ems.cable_limits)
            ),
        ]
        self._elements = elements_of(site.network)

    def excesses(self, behaviours: Mapping[str, Behaviour]) -> Iterator[Excess]:
        """Every limit of the site that these are above by what follows set-points otherwise."""
        for scope in (*self._scopes, *self._network(behaviours)):
            yield from (excess for excess in self.excesses_of(scope, behaviours) if excess.kw > excess.fixed_kw)

    def excesses_of(self, scope: Scope, behaviours: Mapping[str, Behaviour]) -> Iterator[Excess]:
        """Those of one limit."""
        counted = {
            name: share
            for name in (*behaviours, *self._loads_kw)
            if (scope.devices is None or name in scope.devices)
            and (share := self._share(name, behaviours, scope.phase))
        }
        draws = {name: share * self._draws_kw(name, behaviours) for name, share in counted.items()}
        gives = {name: share * behaviours[name].gives_kw for name, share in counted.items() if name in behaviours}
        for way, parts, limit_kw in (("import", draws, scope.import_kw), ("export", gives, scope.export_kw)):
            kw = sum_in_order(parts.values())
            fixed_kw = sum_in_order(
                kw for name, kw in parts.items() if name not in behaviours or not behaviours[name].commanded
            )
            if kw > limit_kw + ROUNDING_KW:
                nonzero = {name: part for name, part in parts.items() if part}
                yield Excess(scope, way, kw, limit_kw, fixed_kw, nonzero)

    def _draws_kw(self, name: str, behaviours: Mapping[str, Behaviour]) -> float:
        load_kw = self._loads_kw.get(name, 0.0)
        return max(load_kw, behaviours[name].draws_kw) if name in behaviours else load_kw

    def _network(self, behaviours: Mapping[str, Behaviour]) -> Iterator[Scope]:
        """Cables and transformer; each phase of one behind which a single-phase device is."""
        names = {*behaviours, *self._loads_kw}
        for element in self._elements:
            behind = frozenset(name for name in names if self._node(name) in element.nodes)
            where = f"network, {element.name}"
            if any(name in self._switched or self._is_single(name, behaviours) for name in behind):
                limit_kw = element.limit_kw / len(PHASES)
                for phase, letter in enumerate(PHASES):
                    name = f"phase {letter} of {element.name}"
                    yield Scope(name, where, behind, limit_kw, limit_kw, phase)
            else:
                yield Scope(element.name, where, behind, element.limit_kw, element.limit_kw)

    def _share(self, name: str, behaviours: Mapping[str, Behaviour], phase: int | None) -> float:
        if phase is None:
            return 1.0
        if self._switched.get(name) == phase and self._draws_kw(name, behaviours) <= self._one_phase_kw[name]:
            return 1.0  # with more it is on three
        if not self._is_single(name, behaviours):
            return 1 / len(PHASES)
        return float(self._phases.get(name, phase) == phase)

    def _is_single(self, name: str, behaviours: Mapping[str, Behaviour]) -> bool:
        return name in self._phases or (name in behaviours and behaviours[name].single_phase)

    def _node(self, name: str) -> str:
        device = self._site.devices.get(name)
        return self._site.network.main_node if device is None or device.node is None else device.node
