"""A query of Grafana's InfluxDB data source in Flux. The foundation SDK has no model of that data source; this is one,
as the SDK's README tells to define a query type, and the SDK reads and writes it like its own."""

from typing import Any, Self

from grafana_foundation_sdk.cog import runtime, variants
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import DataSourceRef

DATA_SOURCE = DataSourceRef(type_val="influxdb", uid="twinswarm")


class FluxQuery(variants.Dataquery, Builder[variants.Dataquery]):
    """Flux text under a reference (A, B, …). It is its own builder: there is nothing to be built."""

    def __init__(self, query: str, ref_id: str = "A") -> None:
        self.query = query
        self.ref_id = ref_id

    def build(self) -> "FluxQuery":
        return self

    def to_json(self) -> dict[str, object]:
        return {"datasource": DATA_SOURCE, "query": self.query, "refId": self.ref_id}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Raises KeyError, ValueError: it is not such a query."""
        if set(data) != {"datasource", "query", "refId"}:
            raise ValueError(f"a Flux query has datasource, query and refId, not {sorted(data)}")
        return cls(data["query"], data["refId"])


def register() -> None:
    """Lets the SDK read these queries back."""
    runtime.register_dataquery_variant(
        runtime.DataqueryConfig(identifier=DATA_SOURCE.type_val or "", from_json_hook=FluxQuery.from_json)
    )
