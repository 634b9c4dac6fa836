"""Certificates of end points: the broker's, and one per device and service, whose CN is user name and client id."""

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from broker.provision.authority import BACKDATED, Authority, common_name, key_usage
from broker.provision.key_pair import KeyPair
from schemas.errors import Code, InputError

LIFE = timedelta(days=5 * 365)
RENEWED_BEFORE_END = timedelta(days=90)
"""A certificate that ends within this time is renewed when a site is provisioned again."""
BROKER_NAMES = ("localhost", "127.0.0.1", "mosquitto")
"""By which clients always may reach the broker; the last is its name in compose."""


class Identity(KeyPair):
    """Identity of the broker, a device or a service."""

    @property
    def name(self) -> str:
        """The CN."""
        return str(self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)

    @property
    def serial(self) -> int:
        return self.certificate.serial_number

    def ends_soon(self, now: datetime) -> bool:
        return ends_soon(self.certificate, now)


def ends_soon(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_after_utc - now < RENEWED_BEFORE_END


def certified_hosts(certificate: bytes, where: str) -> list[str]:
    """Host names and addresses that a broker's certificate (PEM) stands for. Raises InputError for what is none."""
    try:
        extensions = x509.load_pem_x509_certificate(certificate).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise InputError.one(where, f"is no certificate of a broker: {error}", code=Code.FORMAT) from None
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return [*names.get_values_for_type(x509.DNSName), *addresses]


def client_identity(
    authority: Authority,
    name: str,
    now: datetime,
    *,
    life: timedelta = LIFE,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Identity:
    """For a client whose CN is ``name``, which `schemas.topics.client_id` makes. ``key`` None: a new one."""
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    return _issue(authority, name, (purpose,), now, life, key)


def broker_identity(
    authority: Authority,
    name: str,
    hosts: Sequence[str],
    now: datetime,
    *,
    key: ec.EllipticCurvePrivateKey | None = None,
) -> Identity:
    """For the broker, reachable by ``hosts`` and `BROKER_NAMES`. Raises InputError for what is no host name."""
    names = x509.SubjectAlternativeName([_host(host) for host in dict.fromkeys((*BROKER_NAMES, *hosts))])
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    return _issue(authority, name, (purpose, names), now, LIFE, key)


def _issue(
    authority: Authority,
    name: str,
    extensions: Sequence[x509.ExtensionType],
    now: datetime,
    life: timedelta,
    key: ec.EllipticCurvePrivateKey | None,
) -> Identity:
    key = key or ec.generate_private_key(ec.SECP256R1())
    end = min(now + life, authority.certificate.not_valid_after_utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(common_name(name))
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return Identity(builder.sign(authority.key, hashes.SHA256()), key)


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        return x509.DNSName(text)
    except ValueError:
        raise InputError.one(
            "--broker-name", "a host name (ASCII) or an address is allowed", text, code=Code.FORMAT
        ) from None
