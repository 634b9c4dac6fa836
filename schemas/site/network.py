"""The site's low-voltage network as tables: transformer, cables, and where devices attach."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from schemas.site.base import SitePart
from schemas.site.wiring import Ends, Trunk, cable_name, form_faults, nodes_of, wiring_faults

Node = Annotated[str, Field(min_length=1, max_length=32)]

MOST_TAP_FRAC = 0.2
"""Beyond it no off-load tap changer goes."""


class Transformer(SitePart):
    """Two-winding transformer between the PCC and the low-voltage busbar (IEC 60076 nameplate values)."""

    from_node: Node = "PCC"
    to_node: Node
    rated_kva: Annotated[float, Field(gt=0, le=1e5)]
    high_kv: Annotated[float, Field(gt=0, le=500)]
    low_kv: Annotated[float, Field(gt=0, le=500)]
    vk_frac: Annotated[float, Field(ge=1e-5, lt=1)]
    """Relative short-circuit voltage. Below 1e-5 its losses would be rounding errors; a connection without a
    transformer leaves it out."""
    vkr_frac: Annotated[float, Field(ge=0, lt=1)]
    """Its resistive part."""
    iron_loss_kw: Annotated[float, Field(ge=0, le=1e4)]
    no_load_current_frac: Annotated[float, Field(ge=0, lt=1)] = 0.0
    clock: Annotated[int, Field(ge=0, le=11)] = 5
    tap_pos: Annotated[int, Field(ge=-20, le=20)] = 0
    """Position of the off-load tap changer on the high-voltage side; positive: more turns, a lower low voltage."""
    tap_step_frac: Annotated[float, Field(gt=0, le=0.1)] = 0.025
    """Turns of a position, of the rated ones."""

    @property
    def ends(self) -> Ends:
        return self.from_node, self.to_node

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.vkr_frac > self.vk_frac:
            raise ValueError(f"vkr_frac {self.vkr_frac} is above vk_frac {self.vk_frac}")
        if abs(self.tap_frac) > MOST_TAP_FRAC:
            raise ValueError(f"tap_pos {self.tap_pos} times {self.tap_step_frac} is beyond ±{MOST_TAP_FRAC}")
        return self

    @property
    def tap_frac(self) -> float:
        """Additional turns of the high-voltage winding, of the rated ones."""
        return self.tap_pos * self.tap_step_frac


class Cable(SitePart):
    """A cable, all parallel conductors together."""

    from_node: Node
    to_node: Node
    r_mohm: Annotated[float, Field(gt=0, le=1e7)]
    x_mohm: Annotated[float, Field(ge=0, le=1e7)]
    ampacity_a: Annotated[float, Field(gt=0, le=1e5)]
    r0_factor: Annotated[float, Field(gt=0, le=20)] = 4.0
    """Zero-sequence resistance over ``r_mohm``, for sites with single-phase devices. 4: four conductors of one
    cross-section, all return current through the neutral (R + 3 R_N)."""
    x0_factor: Annotated[float, Field(ge=0, le=20)] = 4.0
    """Zero-sequence reactance over ``x_mohm``."""

    @property
    def ends(self) -> Ends:
        return self.from_node, self.to_node

    @property
    def name(self) -> str:
        return cable_name(self.ends)


class Network(SitePart):
    """Radial or meshed, behind a transformer or from a low-voltage connection on; every node hangs together with the
    PCC, and only the transformer joins its two sides. Without transformer and cables it is one busbar.

    The grid at the PCC has ``source_voltage_pu`` without load, and keeps it unless its short-circuit power is given.
    """

    transformer: Transformer | None = None
    cables: tuple[Cable, ...] = ()
    main_node: Node = "PCC"
    """Where devices attach that name no node."""
    pcc_node: Node = "PCC"
    """The node of a connection without a transformer."""
    nominal_kv: Annotated[float, Field(gt=0, le=500)] = 0.4
    """Voltage of a connection without a transformer, between phases."""
    losses_frac: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Of one busbar: losses over the power that its devices draw or give together."""
    source_voltage_pu: Annotated[float, Field(gt=0.8, lt=1.2)] = 1.0
    source_short_circuit_mva: Annotated[float, Field(ge=1e-3, le=1e6)] | None = None
    """Short-circuit power of the grid at the PCC; None: so much that its voltage does not move."""
    source_rx_ratio: Annotated[float, Field(ge=0, le=100)] = 0.1
    """Resistance over reactance of the grid."""
    source_z0_ratio: Annotated[float, Field(gt=0, le=20)] = 1.0
    """Its zero-sequence over its positive-sequence impedance, for sites with single-phase devices."""
    voltage_min_pu: Annotated[float, Field(gt=0.5, lt=1)] = 0.9
    voltage_max_pu: Annotated[float, Field(gt=1, lt=1.5)] = 1.1
    """EN 50160: ±10 %."""

    @property
    def trunk(self) -> Trunk:
        """Nodes that it begins with, the PCC first."""
        return (self.pcc_node,) if self.transformer is None else self.transformer.ends

    @property
    def nodes(self) -> tuple[str, ...]:
        """In order of first mention, the PCC first."""
        return nodes_of(self.trunk, [cable.ends for cable in self.cables])

    @property
    def is_busbar(self) -> bool:
        """Whether nothing is described that has losses of its own."""
        return self.transformer is None and not self.cables

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        given = said({name: getattr(self, name) for name in self.model_fields_set})
        cables = dict(enumerate(cable.ends for cable in self.cables))
        faults = list(form_faults(given)) or list(wiring_faults(self.trunk, cables, self.main_node))
        if faults:
            raise ValueError("; ".join(map(str, faults)))
        return self


def said(values: Mapping[str, Any]) -> set[str]:
    """Names of a network's fields that say something: other values than the defaults, and ``main_node`` always."""
    defaults = {name: info.default for name, info in Network.model_fields.items()}
    empty: tuple[Any, ...] = (None, (), [])
    given = {name: value for name, value in values.items() if name in defaults and value not in empty}
    return {name for name, value in given.items() if name == "main_node" or value != defaults[name]}
