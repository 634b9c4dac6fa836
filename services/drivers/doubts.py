"""Measurements that a device may give by its protocol, and that cannot be true: they go no further than here."""

from datetime import datetime

from schemas.plausibility import bounds_of
from schemas.site import Bess, Pv, Site
from schemas.soc_trust import SocTrust
from services.drivers.link import Measured

_HINT = "is W given as kW?"


class Doubts:
    """The rules of `schemas.plausibility`, by which EMS and settlement doubt telemetry, at the door of the hardware."""

    def __init__(self, site: Site, device: str) -> None:
        self._spec = site.devices[device]
        self._bounds = bounds_of(self._spec.nameplate, site)
        self._soc = SocTrust()
        self._standing: dict[str, str] = {}

    @property
    def most_kw(self) -> float | None:
        """The most that can flow in either direction; None: not known."""
        return None if self._bounds is None else max(self._bounds.draws_kw, self._bounds.gives_kw)

    @property
    def trouble(self) -> str | None:
        """What cannot be true of what was measured last, with the value and what is allowed."""
        return "; ".join(self._standing.values()) or None

    def without(self, new: Measured, at: datetime, boot: str) -> Measured:
        """The measurement without what cannot be true; that counts as unread."""
        given = {name for name, value in new if value is not None}
        for name in given:
            self._standing.pop(name, None)
        doubts = self._power(new) | self._available(new) | self._soc_of(new, at, boot)
        self._standing |= doubts
        if not doubts:
            return new
        return new.model_copy(update={**dict.fromkeys(doubts), "unread": new.unread | doubts.keys()})

    def _power(self, new: Measured) -> dict[str, str]:
        bounds = self._bounds
        if new.power_kw is None or bounds is None:
            return {}
        doubt = bounds.doubt(new.power_kw)
        hint = f"; {_HINT}" if doubt is not None and bounds.allow(new.power_kw / 1000) else ""
        return {} if doubt is None else {"power_kw": f"power_kw: {doubt}{hint}"}

    def _available(self, new: Measured) -> dict[str, str]:
        """A generator may have more in the sun than its inverter lets through, yet not many times as much."""
        bounds, available_kw = self._bounds, new.available_kw
        if available_kw is None or bounds is None or not isinstance(self._spec, Pv):
            return {}
        most_kw = 2 * bounds.gives_kw
        if available_kw <= most_kw:
            return {}
        return {"available_kw": f"available_kw: {available_kw:.6g} kW is beyond {most_kw:.6g} kW"}

    def _soc_of(self, new: Measured, at: datetime, boot: str) -> dict[str, str]:
        if new.soc_frac is None or not isinstance(self._spec, Bess):
            return {}
        doubt = self._soc.doubt(boot, at, new.soc_frac, self._spec.nameplate)
        return {} if doubt is None else {"soc_frac": f"soc_frac: {doubt}"}
