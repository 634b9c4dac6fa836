"""A certificate with its private key, as PEM and back: what an authority and an end point have in common."""

from dataclasses import dataclass
from typing import ClassVar, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from schemas.errors import Code, InputError


@dataclass(frozen=True)
class KeyPair:
    """The key leaves this object in `key_pem` only."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    what: ClassVar[str] = "certificate and key"
    """How a complaint names it."""

    @classmethod
    def load(cls, certificate: bytes, key: bytes, where: str) -> Self:
        """Raises InputError, with ``where`` they lie, when they are unreadable or do not belong together."""
        try:
            signed = x509.load_pem_x509_certificate(certificate)
            private = load_pem_private_key(key, None)
        except (ValueError, TypeError) as error:
            raise InputError.one(where, f"no {cls.what}: {error}", code=Code.FORMAT) from None
        if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != signed.public_key():
            raise InputError.one(where, "the key is not that of the certificate", code=Code.FOREIGN)
        return cls(signed, private)

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """PKCS #8 without a pass phrase: a service has nobody who could type one. The file's mode protects it."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
