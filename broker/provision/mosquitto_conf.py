"""mosquitto.conf of a provisioned site: mutual TLS, names from certificates, default deny, bounded, durable."""

from dataclasses import dataclass
from pathlib import PurePath

from broker.servers.mosquitto import IN_FLIGHT_MOST, QUEUE_MOST_BYTES
from schemas.wire import MAX_PAYLOAD_BYTES

PORT = 8883
QUEUE_MOST_MESSAGES = 2_000_000
"""More than messages of this contract fit into `QUEUE_MOST_BYTES`: none is shorter than 150 bytes."""
AUTOSAVE_S = 10
"""At most so much of what is retained and queued is lost when the broker's machine fails."""


@dataclass(frozen=True, slots=True)
class BrokerPlace:
    """Where Mosquitto will run, as it sees it itself."""

    config: PurePath
    """Its folder with what provisioning wrote: ``broker/``, or where a container mounts that."""
    data: PurePath
    """Where it keeps what is retained and queued. It has to be able to write there."""
    names: tuple[str, ...] = ()
    """Host names and addresses by which clients reach it, besides localhost, 127.0.0.1 and mosquitto."""
    port: int = PORT
    bind: str = "127.0.0.1"
    user: str | None = None
    """The account that it changes to when root starts it; None: Mosquitto's own default."""


def configuration(place: BrokerPlace) -> str:
    """The text of mosquitto.conf."""
    lines = [
        "# Written by twinswarm provision, which writes it anew.",
        f"listener {place.port} {place.bind}",
        "",
        "# Who connects proves by certificate who it is; that name is its user name and its client id.",
        f"cafile {place.config / 'ca.crt'}",
        f"certfile {place.config / 'server.crt'}",
        f"keyfile {place.config / 'server.key'}",
        f"crlfile {place.config / 'crl.pem'}",
        "tls_version tlsv1.2",
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
        "allow_anonymous false",
        f"acl_file {place.config / 'acl'}",
        "",
        "# Without it every tick of a lock-step run waits 40 ms for TCP.",
        "set_tcp_nodelay true",
        "",
        "# The recorder may be away for long: its queue is bounded by bytes. The count is out of reach, but not 0,",
        "# no limit: with that, Mosquitto 2.0.11 ends the connection of a client that writes what it may not.",
        f"message_size_limit {MAX_PAYLOAD_BYTES}",
        f"max_queued_messages {QUEUE_MOST_MESSAGES}",
        f"max_queued_bytes {QUEUE_MOST_BYTES}",
        f"max_inflight_messages {IN_FLIGHT_MOST}",
        "",
        "persistence true",
        f"persistence_location {place.data}/",
        f"autosave_interval {AUTOSAVE_S}",
        "",
        "# Not stdout, of which Mosquitto keeps lines back when it is no terminal.",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
    ]
    if place.user is not None:
        lines += ["", f"user {place.user}"]
    return "\n".join(lines) + "\n"
