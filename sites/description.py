"""A site description: a site, and named variants of it, its cases.

Services know a `Site` only, one that is resolved. Cases are for who runs a site several times: the commands of whole
days, and the study.
"""

from pydantic import Field

from schemas.errors import Code, InputError
from schemas.messages import DeviceId
from schemas.site import PvSource, Site, SitePart, Tariff
from schemas.site.devices import Pv
from schemas.site.references import ReferenceFault, case_faults, profiles_of_source, profiles_of_tariff, sources_of


class Case(SitePart):
    """A named variant of a site: another tariff, other sources of some inverters."""

    tariff: Tariff
    pv: dict[DeviceId, PvSource] = Field(default_factory=dict)


class SiteDescription(Site):
    """A site with its cases, profiles inlined."""

    cases: dict[str, Case] = Field(default_factory=dict)

    def under(self, case: str | None = None) -> Site:
        """The site under one of its cases; None: as it is. Raises InputError for a case that it does not have."""
        parts = {name: getattr(self, name) for name in Site.model_fields}
        if case is not None:
            if case not in self.cases:
                known = ", ".join(sorted(self.cases)) or "none"
                raise InputError.one("--case", f"the site {self.site} has the cases {known}", case, code=Code.UNKNOWN)
            chosen = self.cases[case]
            parts["tariff"] = chosen.tariff
            parts["devices"] = {
                name: device.model_copy(update={"source": chosen.pv[name]}) if name in chosen.pv else device
                for name, device in self.devices.items()
            }
        # Every part is valid, and so is what they refer to: a case's references are checked with the description.
        return Site.model_construct(**parts)

    def _reference_faults(self) -> list[ReferenceFault]:
        inverters = [name for name, device in self.devices.items() if isinstance(device, Pv)]
        return [
            *super()._reference_faults(),
            *case_faults({label: case.pv for label, case in self.cases.items()}, self.devices, inverters),
        ]

    def _tariffs(self) -> dict[str, Tariff]:
        return super()._tariffs() | {f"cases.{label}.tariff": case.tariff for label, case in self.cases.items()}

    def pv_sources(self) -> dict[str, PvSource]:
        return sources_of(self.devices, {label: case.pv for label, case in self.cases.items()})

    def profiles_used(self) -> list[tuple[str, str]]:
        used = super().profiles_used()
        for label, case in self.cases.items():
            used += profiles_of_tariff(f"cases.{label}.tariff", case.tariff)
            for name, source in case.pv.items():
                used += profiles_of_source(f"cases.{label}.pv.{name}", source)
        return used
