"""Base of every part of a site description: frozen, unknown fields refused."""

from pydantic import BaseModel, ConfigDict


class SitePart(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
