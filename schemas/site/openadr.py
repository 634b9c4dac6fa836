"""An OpenADR 3 server (VTN) and how this site, as a client (VEN), comes to it."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.site.base import SitePart

FileName = Annotated[str, Field(min_length=1, max_length=500)]
HttpUrl = Annotated[str, Field(pattern=r"^https?://\S+$", max_length=2000)]


class Vtn(SitePart):
    """Where the server is, and by which OAuth client the site comes to it. A secret never stands in the description."""

    url: HttpUrl
    """Up to and without ``/events``: ``https://vtn.example.org/openadr3/3.1.0``."""
    client_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """None: the server asks for no authorisation."""
    client_secret_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Environment variable with the client's secret."""
    client_secret_file: FileName | None = None
    token_url: HttpUrl | None = None
    """Of the OAuth server; None: as the VTN says at ``/auth/server``."""
    program: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Only the events of the program of this name; None: of every program that the server shows."""

    @model_validator(mode="after")
    def _client_has_its_secret(self) -> Self:
        given = [name for name in ("client_secret_env", "client_secret_file") if getattr(self, name) is not None]
        if len(given) == 2:
            raise ValueError("client_secret_env and client_secret_file are two ways to the same secret: give one")
        if (self.client_id is None) == bool(given):
            raise ValueError("client_id and its secret (client_secret_env or client_secret_file) belong together")
        return self
