"""The connection to the broker: options of charger.py and consumer.py, TLS, and connecting again after a loss.

    --broker mqtt://127.0.0.1:1883 --site fit-g2v --device ev1
    --broker mqtts://localhost:8883 --cafile ca.crt --cert ev9.crt --key ev9.key

A certificate names its owner (its CN is `{site}_{device}`), so it needs no --site and no --device.
"""

import argparse
import socket
import ssl
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt

PORTS = {"mqtt": 1883, "mqtts": 8883}


def parse_options(description, device):
    """Reads the command line. A fault in it is printed on standard error and ends the program with status 2."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", default="mqtt://127.0.0.1:1883", help="mqtt://host:port, or mqtts:// for TLS")
    parser.add_argument("--site", help="default: the certificate's, else fit-g2v")
    parser.add_argument("--device", help=f"default: the certificate's, else {device}")
    parser.add_argument("--cafile", type=Path, help="whom to trust to sign the broker's certificate; else the system's")
    parser.add_argument("--cert", type=Path, help="certificate (PEM) that proves who this is")
    parser.add_argument("--key", type=Path, help="its private key (PEM, without a pass phrase)")
    parser.add_argument("--username", help="for a broker that asks for a password")
    parser.add_argument("--password-file", type=Path, help="its first line is the password")
    given = parser.parse_args()
    try:
        given.host, given.port, given.tls = _address(given.broker)
        given.context, given.password = _context(given), _password(given)
        given.site, given.device = _identity(given, device)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return given


def _address(broker):
    url = urlsplit(broker)
    try:
        port = url.port or PORTS.get(url.scheme)
    except ValueError:  # it is no number of a port
        port = None
    if url.scheme not in PORTS or not url.hostname or not port or "@" in url.netloc:
        raise ValueError("--broker: allowed is mqtt://host:port or mqtts://host:port; a password goes into a file")
    return url.hostname, port, url.scheme == "mqtts"


def _context(given):
    if not given.tls:
        if given.cafile or given.cert or given.key:
            raise ValueError(f"--cafile, --cert, --key: {given.broker} is not encrypted; use mqtts://")
        return None
    if bool(given.cert) != bool(given.key):
        raise ValueError("--cert, --key: a certificate and its key are given together")
    try:
        context = ssl.create_default_context(cafile=given.cafile)
        if given.cert:
            context.load_cert_chain(given.cert, given.key)
    except OSError as error:
        raise ValueError(f"--cafile, --cert, --key: cannot be loaded: {error}") from None
    return context


def _password(given):
    """From a file: on a command line every user of the machine could read it."""
    if bool(given.username) != bool(given.password_file):
        raise ValueError("--username, --password-file: a user name and its password are given together")
    return given.password_file and given.password_file.read_text().partition("\n")[0]


def _identity(given, device):
    if not given.cert:
        return given.site or "fit-g2v", given.device or device
    from cryptography import x509  # nobody needs it who has no certificate

    subject = x509.load_pem_x509_certificate(given.cert.read_bytes()).subject
    names = subject.get_attributes_for_oid(x509.OID_COMMON_NAME)
    site, _, device = names[0].value.partition("_") if names else ("", "", "")
    if not device:
        raise ValueError(f"--cert: its subject has to be CN=SITE_DEVICE, it is {subject.rfc4514_string()}")
    if given.site not in {None, site} or given.device not in {None, device}:
        raise ValueError(f"--site, --device: the certificate {given.cert} is that of {device} of the site {site}")
    return site, device


def new_client(given):
    """Not connected yet: its last will is still to be set."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, f"{given.site}_{given.device}", protocol=mqtt.MQTTv311)
    # Nagle's algorithm makes a barrier of small messages a hundred times slower.
    client.on_socket_open = lambda *about: about[2].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.on_disconnect = lambda *about: _tell(given, f"the connection ended: {about[3]}")
    client.enable_logger()
    client.suppress_exceptions = True  # a message that is not of the contract goes to the log and stops nothing
    if given.context:
        client.tls_set_context(given.context)
    if given.username:
        client.username_pw_set(given.username, given.password)
    return client


def serve(client, given, on_join, between=lambda: None):
    """Drives the client for good. A device outlives its broker: it dials again after every loss, once a second.

    ``on_join`` is called whenever the broker has let us in, ``between`` at least every 50 ms while it has.
    """

    def on_connect(_client, _userdata, _flags, reason, _properties):
        if reason.is_failure:
            _tell(given, f"the broker refuses us: {reason}")
        else:
            on_join()

    client.on_connect = on_connect
    while True:
        try:
            client.connect(given.host, given.port)
            while client.loop(0.05) == mqtt.MQTT_ERR_SUCCESS:
                between()
        except OSError as error:  # nobody listens there, or it is not who we trust
            _tell(given, str(error))
        time.sleep(1.0)


def _tell(given, what):
    print(f"{given.broker}: {what}", file=sys.stderr, flush=True)
