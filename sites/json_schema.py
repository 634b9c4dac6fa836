"""JSON Schema (draft 2020-12) of a site file, for editors and for programs that write one."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from schemas.export import DIALECT, SchemaGenerator
from sites.description import SiteDescription
from sites.written import CableOfConductor, CableOfType, CablesFile, DayFile, SessionsFile, TimeFile


def site_schema() -> dict[str, Any]:
    """The schema of a site as a user writes it: values in place, or references to CSV files."""
    written = (DayFile, TimeFile, SessionsFile, CablesFile, CableOfType, CableOfConductor)
    models: list[type[BaseModel]] = [SiteDescription, *written]
    _, schema = models_json_schema([(model, "validation") for model in models], schema_generator=SchemaGenerator)
    parts = schema["$defs"]

    def or_else(holder: dict[str, Any], name: str, *references: str) -> None:
        holder[name] = {"anyOf": [holder[name], *({"$ref": f"#/$defs/{reference}"} for reference in references)]}

    profiles = parts["SiteDescription"]["properties"]["profiles"]["patternProperties"]
    for pattern in list(profiles):
        or_else(profiles, pattern, "DayFile", "TimeFile")
    or_else(parts["Charger"]["properties"], "sessions", "SessionsFile")
    or_else(parts["Network"]["properties"]["cables"], "items", "CableOfType", "CableOfConductor")
    or_else(parts["Network"]["properties"], "cables", "CablesFile")
    top = parts.pop("SiteDescription")
    return {"$schema": DIALECT, "$id": "urn:twinswarm:v1:site", **top, "title": "site", "$defs": parts}
