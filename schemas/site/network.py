"""The site's low-voltage network as tables: transformer, cables, and where devices attach."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.site.base import SitePart

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
    def name(self) -> str:
        return f"{self.from_node}-{self.to_node}"


class Network(SitePart):
    """Radial or meshed; every node hangs together with the PCC, where the grid holds ``source_voltage_pu``."""

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
        ends = [self.transformer.from_node, self.transformer.to_node]
        ends += [node for cable in self.cables for node in (cable.from_node, cable.to_node)]
        return tuple(dict.fromkeys(ends))

    @model_validator(mode="after")
    def _connected(self) -> Self:
        reached = {self.transformer.from_node, self.transformer.to_node}
        while True:
            further = {
                node
                for cable in self.cables
                for node in (cable.from_node, cable.to_node)
                if reached & {cable.from_node, cable.to_node}
            } - reached
            if not further:
                break
            reached |= further
        if lost := [node for node in self.nodes if node not in reached]:
            raise ValueError(f"nodes without a connection to {self.transformer.from_node}: {', '.join(lost)}")
        if self.main_node not in reached:
            raise ValueError(f"main_node {self.main_node!r} is not a node; nodes are {', '.join(self.nodes)}")
        return self
