"""Base of every part of a site description: frozen, unknown fields refused."""

from pydantic import BaseModel, ConfigDict


class SitePart(BaseModel):
    """Parts are validated within the whole: most of them need no validator of their own.

    They are written by the names that they are read by, for processes are handed the resolved site as JSON.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True, serialize_by_alias=True
    )
