"""The site's low-voltage network as tables: transformer, cables, and where devices attach."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.site.base import SitePart
from schemas.site.wiring import Ends, cable_name, nodes_of, wiring_faults

Node = Annotated[str, Field(min_length=1, max_length=32)]


class Transformer(SitePart):
    """Two-winding transformer between the PCC and the low-voltage busbar (IEC 60076 nameplate values)."""

    from_node: Node = "PCC"
    to_node: Node
    rated_kva: Annotated[float, Field(gt=0, le=1e5)]
    high_kv: Annotated[float, Field(gt=0, le=500)]
    low_kv: Annotated[float, Field(gt=0, le=500)]
    vk_frac: Annotated[float, Field(gt=0, lt=1)]
    """Relative short-circuit voltage."""
    vkr_frac: Annotated[float, Field(ge=0, lt=1)]
    """Its resistive part."""
    iron_loss_kw: Annotated[float, Field(ge=0, le=1e4)]
    no_load_current_frac: Annotated[float, Field(ge=0, lt=1)] = 0.0
    clock: Annotated[int, Field(ge=0, le=11)] = 5

    @property
    def ends(self) -> Ends:
        return self.from_node, self.to_node

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.vkr_frac > self.vk_frac:
            raise ValueError(f"vkr_frac {self.vkr_frac} is above vk_frac {self.vk_frac}")
        return self


class Cable(SitePart):
    """A cable, all parallel conductors together."""

    from_node: Node
    to_node: Node
    r_mohm: Annotated[float, Field(gt=0, le=1e7)]
    x_mohm: Annotated[float, Field(ge=0, le=1e7)]
    ampacity_a: Annotated[float, Field(gt=0, le=1e5)]
    r0_factor: Annotated[float, Field(ge=1, le=20)] = 4.0
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
    """Radial or meshed; every node hangs together with the PCC, where the grid holds ``source_voltage_pu``. Only the
    transformer joins its two sides."""

    transformer: Transformer
    cables: tuple[Cable, ...]
    main_node: Node
    """Where devices attach that name no node."""
    source_voltage_pu: Annotated[float, Field(gt=0.8, lt=1.2)] = 1.0
    voltage_min_pu: Annotated[float, Field(gt=0.5, lt=1)] = 0.9
    voltage_max_pu: Annotated[float, Field(gt=1, lt=1.5)] = 1.1
    """EN 50160: ±10 %."""

    @property
    def nodes(self) -> tuple[str, ...]:
        """In order of first mention, the PCC first."""
        return nodes_of(self.transformer.ends, [cable.ends for cable in self.cables])

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        cables = dict(enumerate(cable.ends for cable in self.cables))
        if faults := list(wiring_faults(self.transformer.ends, cables, self.main_node)):
            raise ValueError("; ".join(map(str, faults)))
        return self
