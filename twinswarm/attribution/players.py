"""Who shares the savings: the devices of a site that its EMS may move."""

from dataclasses import dataclass

from schemas.errors import Code, InputError
from schemas.site import Bess, Charger, HeatPump, Site
from twinswarm.simulation.variants import is_movable

_GROUPS: tuple[tuple[type[Bess | Charger | HeatPump], str], ...] = (
    (Charger, "all chargers"),
    (HeatPump, "all heat pumps"),
    (Bess, "all BESSs"),
)


@dataclass(frozen=True, slots=True)
class Player:
    """Devices that are used together or not at all."""

    name: str
    devices: tuple[str, ...]


def players_of(site: Site, most: int) -> tuple[Player, ...]:
    """A player for each BESS, charger and heat pump that the EMS may move.

    Where these are more than ``most``, the chargers are one player; then the heat pumps, then the BESSs. Raises
    InputError for a site without one, and for ``most`` that its groups exceed.
    """
    movable = {name: device for name, device in site.devices.items() if is_movable(device)}
    if not movable:
        what = (
            "has neither a BESS nor chargers nor a heat pump that an EMS could control: there is nothing to attribute"
        )
        raise InputError.one("SITE", what, site.site, code=Code.EMPTY)
    players = [Player(name, (name,)) for name in movable]
    for kind, group in _GROUPS:
        together = tuple(name for name, device in movable.items() if isinstance(device, kind))
        if len(players) > most and len(together) > 1:
            players = [player for player in players if player.devices[0] not in together] + [Player(group, together)]
    if len(players) > most:
        what = f"the site has {len(players)} kinds of devices that share the savings"
        raise InputError.one("--most-players", what, str(most), code=Code.RANGE)
    return tuple(players)
