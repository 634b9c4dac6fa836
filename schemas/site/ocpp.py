"""The site's central system (CSMS) for its OCPP chargers: where they connect to, and who may."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from schemas.site.base import SitePart

FileName = Annotated[str, Field(min_length=1, max_length=500)]
IdTag = Annotated[str, Field(min_length=1, max_length=36)]


class OcppServer(SitePart):
    """One endpoint for all chargers of the site; a charge point connects to ``ws://host:port/IDENTITY``."""

    host: Annotated[str, Field(min_length=1, max_length=253)] = "127.0.0.1"
    """The address that is listened at; 0.0.0.0 is all of the machine's."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 9000
    security_profile: Literal[0, 1, 2, 3] = 0
    """OCPP's: 1 is a password, 2 TLS with a password, 3 TLS with a certificate on both sides; 0 is none of them."""
    password_file: FileName | None = None
    """A line ``IDENTITY:PASSWORD`` for each charge point."""
    certificate: FileName | None = None
    """The endpoint's own, PEM."""
    key: FileName | None = None
    client_ca: FileName | None = None
    """Of the authority that signed the charge points' certificates, whose common name is the identity."""
    id_tags: tuple[IdTag, ...] | None = None
    """Who may charge; None: everybody."""

    @model_validator(mode="after")
    def _profile_has_its_files(self) -> Self:
        profile = self.security_profile
        needs = {
            "password_file": profile in (1, 2),
            "certificate": profile in (2, 3),
            "key": profile in (2, 3),
            "client_ca": profile == 3,
        }
        for name, needed in needs.items():
            given = getattr(self, name) is not None
            if needed and not given:
                raise ValueError(f"security_profile {profile} needs {name}")
            if given and not needed:
                raise ValueError(f"{name} is given, and security_profile {profile} does not use it")
        return self
