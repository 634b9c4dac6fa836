"""Until when a certificate of a file is valid, for whoever watches it."""

from datetime import datetime
from pathlib import Path

from cryptography import x509

from schemas.errors import Code, InputError


def certificate_ends(file: Path) -> datetime:
    """The end of validity of the certificate in a PEM file; of several, the first end.

    Raises InputError when the file cannot be read, or holds no certificate.
    """
    try:
        certificates = x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as error:
        raise InputError.one(str(file), f"cannot be read: {error.strerror}", code=Code.UNREADABLE) from None
    except ValueError as error:
        raise InputError.one(str(file), f"holds no certificate in PEM: {error}", code=Code.FORMAT) from None
    return min(certificate.not_valid_after_utc for certificate in certificates)
