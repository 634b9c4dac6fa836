"""Ends a revoked device's open session at a running Mosquitto.

Measured with Mosquitto 2.0.11: on SIGHUP it reads the access list and the list of the revoked anew. An open session
then loses its rights, and a new connection with the revoked certificate is refused; but the session itself stays open,
for certificates are looked at when a connection is made. What ends it is another connection of the same client id
(MQTT 3.1.1, 3.1.4-2). So this module, which has the authority's key, signs itself a certificate in the device's name,
takes the session over, and leaves. The device cannot come back: its own certificate is refused by then. Its last will
is dropped with its rights, therefore its state is set to offline here.
"""

import logging
import os
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from broker.address import BrokerAddress, Credentials
from broker.mqtt import MqttTransport
from broker.provision import files
from broker.provision.acl import PROVISIONER
from broker.provision.authority import Authority
from broker.provision.identity import Identity, client_identity
from broker.transport import Delivery
from schemas.errors import BrokerUnreachableError, Code, InputError, RemoteMessageError
from schemas.messages import Presence, Stamp, State
from schemas.presence import REVOKED
from schemas.topics import Channel, Topic, client_id, topic_filter
from schemas.wire import decode, encode

LOG = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S = 5.0
LOOK_EVERY_S = 0.1
STATE_WITHIN_S = 1.0
"""Retained messages come right after the subscription."""
_TAKEOVER_LIFE = timedelta(minutes=10)
_REVOKED = "CERTIFICATE_REVOKED"


def end_session(
    address: BrokerAddress,
    authority: Authority,
    site: str,
    device: str,
    canary: Identity,
    now: datetime,
    *,
    wait_s: float,
    remind: Callable[[], None],
) -> None:
    """Waits until the broker refuses ``canary``, a revoked certificate; then ends the session of ``device``.

    ``remind`` is called once if the broker has not yet read the list anew: it has to be told by SIGHUP, by whoever may
    send it one. Raises InputError without TLS, BrokerUnreachableError when it is not there or does not reload in time.
    """
    if not address.tls:
        raise InputError.one(
            "--broker", "certificates need an encrypted connection; use mqtts://", str(address), code=Code.UNENCRYPTED
        )
    _await_reload(address, authority, canary, wait_s, remind)
    takeover = client_identity(authority, client_id(site, device), now, life=_TAKEOVER_LIFE)
    with _connected(address, authority, takeover, ()):
        LOG.info("took over the session of %s and ended it", takeover.name)
    ours = client_identity(authority, client_id(site, PROVISIONER), now, life=_TAKEOVER_LIFE)
    with _connected(address, authority, ours, (topic_filter(site, device=device, channel=Channel.STATE),)) as transport:
        _declare_offline(transport, now)


def _await_reload(
    address: BrokerAddress, authority: Authority, canary: Identity, wait_s: float, remind: Callable[[], None]
) -> None:
    deadline = time.monotonic() + wait_s
    reminded = False
    while not _refused(address, authority, canary):
        if time.monotonic() >= deadline:
            raise BrokerUnreachableError(
                f"the broker at {address} has not read the list of revoked certificates anew within {wait_s:g} s: "
                "send its process SIGHUP (only while the recorder is connected; otherwise restart it) and revoke "
                "again; until then the session goes on"
            )
        if not reminded:
            remind()
            reminded = True
        time.sleep(LOOK_EVERY_S)


def _refused(address: BrokerAddress, authority: Authority, canary: Identity) -> bool:
    """Whether the broker breaks off the handshake because the certificate was revoked."""
    with _on_disk(authority, canary) as credentials:
        context = ssl.create_default_context(cafile=str(credentials.cafile))
        # With TLS 1.3 a client's handshake is over before the broker has looked at its certificate.
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        assert credentials.cert is not None
        context.load_cert_chain(credentials.cert, credentials.key)
        try:
            with (
                socket.create_connection((address.host, address.port), timeout=HANDSHAKE_TIMEOUT_S) as connection,
                context.wrap_socket(connection, server_hostname=address.host),
            ):
                return False
        except ssl.SSLError as error:
            if _REVOKED in str(error.reason):
                return True
            raise BrokerUnreachableError(f"the broker at {address}: no TLS connection ({error.reason})") from None
        except OSError as error:
            raise BrokerUnreachableError(f"no broker answers at {address} ({error.strerror or error})") from None


@contextmanager
def _connected(
    address: BrokerAddress, authority: Authority, identity: Identity, subscriptions: tuple[str, ...]
) -> Iterator[MqttTransport]:
    """A clean session, so that nothing is kept for the name."""
    with _on_disk(authority, identity) as credentials:
        transport = MqttTransport(address, identity.name, credentials)
        transport.connect(subscriptions)
        try:
            yield transport
        finally:
            transport.flush(HANDSHAKE_TIMEOUT_S)
            transport.close()


def _declare_offline(transport: MqttTransport, now: datetime) -> None:
    """Whoever looks for the device finds it gone, though the broker dropped its last will."""
    retained = transport.receive(STATE_WITHIN_S)
    if retained is None:
        return  # it never showed itself
    known = _state(retained)
    if known is None or known[1].state is Presence.OFFLINE:
        return
    topic, boot = str(Topic.parse(retained.topic)), known[0].boot
    gone = State(state=Presence.OFFLINE, reason=REVOKED)
    transport.publish(topic, encode(Stamp(ts=now, run=known[0].run, boot=boot, seq=0), gone), retain=True)


def _state(delivery: Delivery) -> tuple[Stamp, State] | None:
    try:
        stamp, body = decode(Topic.parse(delivery.topic), delivery.payload)
    except RemoteMessageError as error:
        LOG.warning("the device's state is not of the contract: %s", error)
        return None
    assert isinstance(body, State)
    return stamp, body


@contextmanager
def _on_disk(authority: Authority, identity: Identity) -> Iterator[Credentials]:
    """OpenSSL reads files only; these are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="twinswarm-", dir=_memory()) as name:
        folder = Path(name)
        files.write(folder / "ca.crt", authority.certificate_pem)
        files.write(folder / "own.crt", identity.certificate_pem)
        files.write(folder / "own.key", identity.key_pem)
        yield Credentials(folder / "ca.crt", folder / "own.crt", folder / "own.key")


def _memory() -> str | None:
    """Where a short-lived key never reaches a disk, if there is such a place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - the folder in it is ours alone
