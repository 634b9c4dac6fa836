"""Tokens of InfluxDB for those who write and read a history: limited to its buckets, renewed when they do not work."""

from schemas.errors import LocalStateError
from services.influx.downsample import buckets_of
from services.influx.server import READ, WRITE, InfluxServer


def renewed_token(server: InfluxServer, bucket: str, holder: str, held: str | None, *, write: bool) -> str | None:
    """A new token for ``holder``, when the one that it has is missing, unknown, or may do more or less than it is to.

    It reads the history ``bucket``, runs and quarter-hours included, and with ``write`` writes there, too. Others that
    were made for this holder are withdrawn. None: what it has works. The server's own token has to be one that may
    manage tokens. Raises InfluxError, and LocalStateError when the buckets are not there.
    """
    actions = (READ, WRITE) if write else (READ,)
    grants = frozenset((action, identifier) for identifier in _identifiers(server, bucket) for action in actions)
    description = f"twinswarm: {'writes' if write else 'reads'} {bucket}, for {holder}"
    known = server.authorizations()
    if any(one.token == held and one.grants == grants for one in known):
        return None
    made = server.authorize(description, grants)
    for one in known:
        if one.description == description:
            server.withdraw(one)
    return made


def _identifiers(server: InfluxServer, bucket: str) -> list[str]:
    found = {name: server.bucket(name) for name in buckets_of(bucket)}
    if missing := [name for name, one in found.items() if one is None]:
        raise LocalStateError(f"{server.url}: there is no bucket {', '.join(missing)}")
    return [one.id for one in found.values() if one is not None]
