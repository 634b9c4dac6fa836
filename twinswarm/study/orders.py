"""Which days a study consists of: cases, storages, and ways of breaking ties between equal-cost plans."""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.errors import Code, InputError
from schemas.site import Site
from sites.description import SiteDescription
from twinswarm.simulation.variants import Reference, StorageChoice, resolve
from twinswarm.study.published import PSF_CASE, STORAGES

ALL_STORAGES = (StorageChoice.NONE, *STORAGES)
"""The reference first: it is the day with no storage."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Names a day. ``tie`` is one of `TIES`, or empty for the site's own tie-break."""

    case: str
    storage: StorageChoice
    tie: str = ""


TIES: dict[str, tuple[float, float]] = {
    "no tie-break": (0.0, 0.0),
    "least throughput only": (1e-4, 0.0),
    "flat PCC only": (0.0, 1e-5),
    "flat PCC before throughput": (1e-5, 1e-4),
}
"""Weights [€/kWh] of throughput and of the flat-PCC bands, `schemas.site.EmsOptions`. All of them are small against
prices, so that these days differ in which of the equal-cost plans is followed and next to nothing in cost."""


def check_cases(site: SiteDescription, cases: Sequence[str]) -> None:
    """Raises InputError naming the cases that the site does not have."""
    missing = [case for case in cases if case not in site.cases]
    if missing:
        known = ", ".join(sorted(site.cases)) or "none"
        raise InputError.one(
            "--cases", f"the site {site.site} has the cases {known}", ", ".join(missing), code=Code.UNKNOWN
        )


def table_days(cases: Sequence[str]) -> list[Key]:
    """Every case with every storage, the reference included: 24 days for the six cases."""
    return [Key(case, storage) for case in cases for storage in ALL_STORAGES]


def tie_days(cases: Sequence[str]) -> list[Key]:
    """Case 6 with other tie-breaks, if it is among the cases."""
    return [Key(PSF_CASE, storage, tie) for storage in STORAGES for tie in TIES if PSF_CASE in cases]


def site_of(site: SiteDescription, key: Key, reference: Reference) -> Site:
    """The site as it is on that day. Without V2G the cars are treated as the reference treats them."""
    chosen = resolve(site, key.case, key.storage, reference)
    if not key.tie:
        return chosen
    throughput, flat = TIES[key.tie]
    update = {"tie_throughput_eur_per_kwh": throughput, "tie_flat_eur_per_kwh": flat}
    return chosen.model_copy(update={"ems": chosen.ems.model_copy(update=update)})
