"""Host names and addresses that a user gives: of the broker, and of where it listens."""

import ipaddress
import re
from collections.abc import Iterable

from schemas.errors import Code, Fault, InputError, shorten

ALLOWED = (
    "a host name or an address is allowed, such as broker.example.org or 192.0.2.7, without scheme, port, space or *"
)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
"""RFC 1123, 2.1, and the underscore, which names in a network of containers have."""
_MOST = 253
"""Characters of a host name, RFC 1035, 2.3.4."""


def checked_hosts(option: str, told: Iterable[str]) -> tuple[str, ...]:
    """Each in the one way in which a certificate writes it. Raises InputError for all that are none."""
    hosts, faults = [], []
    for text in told:
        host = _host(text)
        if host is None:
            faults.append(Fault(option, ALLOWED, shorten(text), code=Code.FORMAT))
        else:
            hosts.append(host)
    if faults:
        raise InputError(faults)
    return tuple(dict.fromkeys(hosts))


def _host(text: str) -> str | None:
    """None: it is no host name and no address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        pass
    else:
        scope = getattr(address, "scope_id", None)
        return None if scope else str(address)  # a scope holds on one machine only
    name = text.lower()
    labels = name.split(".")
    # A name that ends in a number is an address that somebody mistyped.
    if len(name) > _MOST or labels[-1].isdigit() or not all(_LABEL.fullmatch(label) for label in labels):
        return None
    return name
