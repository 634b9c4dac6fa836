"""Mosquitto's access list, from the table of rights in `schemas.roles`. Who is not named in it may do nothing."""

from collections.abc import Mapping

from schemas.roles import (
    DISCOVERY,
    HOME,
    HOME_ASSISTANT,
    HOME_STATUS,
    home_commands,
    home_settings,
    read_filters,
    write_filters,
)
from schemas.topics import Channel, Kind, client_id, topic_filter

PROVISIONER = "provision"
"""The identity of `broker.provision.end_session`, which declares a revoked device offline. It exists for seconds."""


def access_list(site: str, clients: Mapping[str, Kind | None]) -> str:
    """The text of the ``acl_file``: a block per user, default deny. Kind None: an observer."""
    blocks = [
        "# Written by twinswarm provision, which writes it anew; user name = CN of the certificate = client id.\n"
        "# What is not granted here is denied. A running Mosquitto takes changes on SIGHUP.\n"
    ]
    commands = Kind.OPERATOR in clients.values()
    for name, kind in sorted(clients.items()):
        writes: tuple[str, ...] = (DISCOVERY,) if name == HOME_ASSISTANT else ()
        reads = read_filters(site, kind, name)
        if kind is Kind.OPERATOR:
            writes = (*writes, home_settings(site), *write_filters(site, kind, name))
            reads = (*reads, DISCOVERY, HOME_STATUS, home_settings(site), home_commands(site))
        elif kind is not None:
            writes = write_filters(site, kind, name)
        elif name == HOME and commands:
            writes, reads = (home_commands(site), HOME_STATUS), (*reads, home_settings(site))
        blocks.append(_block(site, name, writes, reads))
    states = (topic_filter(site, channel=Channel.STATE),)
    blocks.append(_block(site, PROVISIONER, states, states))
    return "\n".join(blocks)


def _block(site: str, name: str, writes: tuple[str, ...], reads: tuple[str, ...]) -> str:
    both = [text for text in writes if text in reads]
    lines = [f"user {client_id(site, name)}"]
    lines += [f"topic readwrite {text}" for text in both]
    lines += [f"topic write {text}" for text in writes if text not in both]
    lines += [f"topic read {text}" for text in reads if text not in both]
    return "\n".join(lines) + "\n"
