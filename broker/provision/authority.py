"""The site's certificate authority: X.509 (RFC 5280) on the curve P-256. Signs for one site's broker and clients only.

With `broker.provision.identity` and `.key_pair` the only modules that know the library ``cryptography``.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from broker.provision.key_pair import KeyPair
from schemas.errors import Code, InputError

BACKDATED = timedelta(hours=1)
"""Begin of validity before the time of signing: clocks of brokers and devices differ."""
AUTHORITY_LIFE = timedelta(days=20 * 365)


@dataclass(frozen=True, slots=True)
class Revocation:
    serial: int
    at: datetime


@dataclass(frozen=True, slots=True)
class RevocationList:
    """An entry of a CRL."""

    serials: frozenset[int]
    issued: datetime


class Authority(KeyPair):
    """The site's authority."""

    what = "authority's certificate and key"

    @classmethod
    def new(cls, site: str, now: datetime) -> Self:
        """Self-signed, path length 0: it signs certificates of end points, never another authority's."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = common_name(f"twinswarm {site}")
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    def signed(self, certificate: x509.Certificate) -> bool:
        """Whether the certificate is one of this authority."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False  # by whether the issuer's name, the kind of key or the signature is another's
        return True

    def read_revocation_list(self, content: bytes) -> "RevocationList":
        """Raises InputError for what is no CRL in PEM, or not this authority's."""
        try:
            revoked = x509.load_pem_x509_crl(content)
            ours = revoked.is_signature_valid(self.certificate.public_key())  # type: ignore[arg-type]
            serials = frozenset(one.serial_number for one in revoked)
            issued = revoked.last_update_utc
        except (ValueError, TypeError) as error:
            raise InputError.one("crl.pem", f"is no list of revoked certificates: {error}", code=Code.FORMAT) from None
        if not ours:
            raise InputError.one("crl.pem", "is not a list of this authority", code=Code.FOREIGN)
        return RevocationList(serials, issued)

    def revocation_list(self, revoked: Iterable[Revocation], after: datetime | None, now: datetime) -> bytes:
        """A CRL in PEM, valid as long as the authority: an expired one would lock everybody out.

        ``after``: the issue time of the list before this one. This one is issued a second later at least, because its
        number is that time, and numbers of lists grow (RFC 5280, 5.2.3). Mosquitto 2.0.11 does not look at either: what
        a reload finds in the file holds, an older list too.
        """
        issued = (now - BACKDATED).replace(microsecond=0)
        if after is not None:
            issued = max(issued, after + timedelta(seconds=1))
        listed = sorted(revoked, key=lambda one: one.serial)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(issued)
            .next_update(self.certificate.not_valid_after_utc)
            .add_extension(x509.CRLNumber(int(issued.timestamp())), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        for one in listed:
            entry = x509.RevokedCertificateBuilder().serial_number(one.serial).revocation_date(one.at)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """An authority signs certificates and lists; an end point signs handshakes."""
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
