from pathlib import Path

import pytest

from broker.address import BrokerAddress, Credentials, LocalBroker, parse_broker
from schemas.errors import InputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("embedded", LocalBroker.EMBEDDED),
        ("mosquitto", LocalBroker.MOSQUITTO),
        ("mqtt://broker.example:1884", BrokerAddress("broker.example", 1884)),
        ("mqtts://broker.example:8884", BrokerAddress("broker.example", 8884, tls=True)),
        ("mqtt://10.0.0.1", BrokerAddress("10.0.0.1", 1883)),
        ("mqtts://10.0.0.1", BrokerAddress("10.0.0.1", 8883, tls=True)),
        ("mqtt://[::1]:1883/", BrokerAddress("::1", 1883)),
    ],
)
def test_each_form_of_a_broker_is_read(text: str, expected: BrokerAddress | LocalBroker) -> None:
    assert parse_broker(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("amqtt", "allowed is embedded, mosquitto"),
        ("http://host:1883", "allowed is embedded, mosquitto"),
        ("mqtt://", "allowed is embedded, mosquitto"),
        ("mqtt://host:0", "1 to 65535"),
        ("mqtt://host:65536", "1 to 65535"),
        ("mqtt://host:abc", "1 to 65535"),
        ("mqtt://host:1883/topic", "nothing may follow"),
        ("mqtt://[::1", "allowed is embedded, mosquitto"),
    ],
)
def test_what_is_no_broker_is_refused_with_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_broker(text)


@pytest.mark.parametrize("text", ["mqtt://ems:geheim@host:1883", "mqtt://ems:geheim@host:99999", "x://ems:geheim@host"])
def test_a_password_in_an_address_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(InputError) as error:
        parse_broker(text)
    assert "geheim" not in str(error.value)


def test_an_address_prints_as_the_url_that_reads_back() -> None:
    for address in (BrokerAddress("::1", 1883), BrokerAddress("host", 8883, tls=True)):
        assert parse_broker(str(address)) == address


def test_all_faults_of_credentials_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        Credentials(cafile=tmp_path / "none.crt", key=tmp_path / "none.key", password_file=tmp_path / "none")
    told = {fault.where for fault in error.value.faults}
    assert told == {"--cafile", "--key", "--password-file"}
    assert sum(fault.where == "--key" for fault in error.value.faults) == 2  # missing, and without its certificate


def test_a_certificate_needs_its_key_and_an_encrypted_connection(tmp_path: Path) -> None:
    cert, key = tmp_path / "cert", tmp_path / "key"
    cert.write_text("x")
    key.write_text("y")
    with pytest.raises(InputError, match="--key"):
        Credentials(cert=cert)
    with pytest.raises(InputError, match="mqtts://"):
        Credentials(cert=cert, key=key).check_for(BrokerAddress("host", 1883))
    Credentials(cert=cert, key=key).check_for(BrokerAddress("host", 8883, tls=True))


def test_the_password_is_the_first_line_and_stands_in_no_representation(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("geheim\nnot this\n")
    credentials = Credentials(username="ems", password_file=file)
    assert credentials.password() == "geheim"
    assert "geheim" not in repr(credentials)
    file.unlink()
    with pytest.raises(InputError, match="--password-file"):
        credentials.password()
