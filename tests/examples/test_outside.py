"""The examples outside: certificates from `provision add` and `export`, passwords, a broker that comes and goes."""

import shutil
import subprocess
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.address import BrokerAddress, Credentials
from broker.mqtt import MqttTransport
from broker.servers.mosquitto import _free_port, find_mosquitto
from schemas.cycle import Course
from schemas.messages import Birth, Presence, State
from schemas.participant import Received
from schemas.topics import Channel, Topic, everything, topic_filter
from schemas.wire import decode
from services.analysis.result import RunResult
from services.history.sqlite import SqliteHistory
from sites.loader import load_site
from tests.examples.conftest import LOG, StartProgram, StartScript
from tests.examples.node import lay_out
from tests.examples.outside import PATIENCE_S, carried, until
from tests.parts import skip_without
from tests.provision.secured import SITE, Secured
from twinswarm.deploy.up import How, conduct_swarm
from twinswarm.simulation.pipeline import Order
from twinswarm.simulation.variants import Reference, StorageChoice

TEN = datetime(2024, 5, 17, 8, 0, tzinfo=UTC)
"""10:00 in Turin: the example's car is there."""
ELEVEN_PM = datetime(2024, 5, 17, 21, 0, tzinfo=UTC)
"""23:00 in Turin: by midnight the site wants its battery at 85 %."""
QUARTER = timedelta(minutes=15)
SPEED = 30.0
LATE = timedelta(minutes=5)
"""Of a set-point, on a busy machine: 10 s of it."""


def half_hour(t0: datetime, folder: Path) -> Order:
    return order(Course(t0, t0 + 2 * QUARTER, 900), folder)


def order(course: Course, folder: Path) -> Order:
    return Order(load_site("fit_g2v"), course, StorageChoice.BOTH, Reference.SMART, folder / "history.sqlite")


def how(secured: Secured, folder: Path, *attached: str, speed: float | None = SPEED) -> How:
    return How(
        str(secured.address),
        Credentials(),
        folder,
        speed=speed,
        attach=frozenset(attached),
        one_process=True,
        certificates=secured.folder.root,
    )


def test_a_charger_outside_is_in_the_next_plan_and_follows_it(
    secured: Secured, start_script: StartScript, tmp_path: Path
) -> None:
    """It comes when the day runs, and is no device of the site's description."""
    day = half_hour(TEN, tmp_path)
    proof = carried(secured, "ev9", tmp_path, "charger")

    def attach(received: Received) -> None:
        if received.topic.channel is Channel.PLAN and not started:
            started.append(start_script("charger.py", "--broker", str(secured.address), *proof))

    started: list[subprocess.Popen[bytes]] = []
    result = conduct_swarm(day, how(secured, tmp_path), attach)

    assert (result.dead_letters, secured.denied) == (0, [])
    with closing(SqliteHistory(day.history)) as history:
        told = history.tracks(result.run)["ev9"].samples
        plans = [plan for _, plan in history.plans(result.run)]
        setpoints = [setpoint for _, setpoint in history.setpoints(result.run, "ev9")]
        acks = [ack for _, ack in history.acks(result.run, "ev9")]
    assert told[0].ts < TEN + QUARTER, "it came in the first quarter"
    assert "ev9" not in plans[0].devices
    assert all("ev9" in plan.devices for plan in plans if plan.start == TEN + QUARTER)
    assert [ack.id for ack in acks if ack.accepted] == [setpoint.id for setpoint in setpoints] != []
    asked = setpoints[0]
    follows = [sample.body.power_kw for sample in told if sample.ts > asked.valid_from + LATE]
    assert follows
    assert set(follows) == {acks[0].applied_kw}
    assert_the_balance_closes(result)


def test_a_charger_outside_joins_a_day_in_lock_step(
    secured: Secured, start_script: StartScript, tmp_path: Path
) -> None:
    proof = carried(secured, "ev9", tmp_path, "charger")
    day = order(Course(TEN, TEN + 48 * QUARTER, 900), tmp_path)
    started: list[subprocess.Popen[bytes]] = []

    def attach(received: Received) -> None:
        if received.topic.channel is Channel.PLAN and not started:
            started.append(start_script("charger.py", "--broker", str(secured.address), *proof))

    result = conduct_swarm(day, how(secured, tmp_path, speed=None), attach)

    assert (result.dead_letters, result.messages_missing, secured.denied) == (0, 0, [])
    with closing(SqliteHistory(day.history)) as history:
        told = history.tracks(result.run)["ev9"].samples
        plans = [plan for _, plan in history.plans(result.run)]
        acks = [ack for _, ack in history.acks(result.run, "ev9")]
    assert all(("ev9" in plan.devices) == (plan.start >= told[0].ts) for plan in plans)
    assert len(acks) == len(told) - 1, "a set-point for each step, and telemetry at its ends"
    assert all(ack.accepted for ack in acks)
    assert_the_balance_closes(result)


def test_a_battery_in_javascript_takes_the_place_of_a_twin(
    secured: Secured, start_program: StartProgram, tmp_path: Path
) -> None:
    script = str(lay_out(tmp_path / "elsewhere"))
    start_program("node", script, "--broker", str(secured.address), *carried(secured, "bess", tmp_path))
    day = half_hour(ELEVEN_PM, tmp_path)

    result = conduct_swarm(day, how(secured, tmp_path, "bess"))

    assert (result.dead_letters, result.messages_missing, secured.denied) == (0, 0, [])
    with closing(SqliteHistory(day.history)) as history:
        birth = history.births(result.run)["bess"].body
        told = history.tracks(result.run)["bess"].samples
        plans = [plan for _, plan in history.plans(result.run)]
        setpoints = [setpoint for _, setpoint in history.setpoints(result.run, "bess")]
        acks = [ack for _, ack in history.acks(result.run, "bess")]
    assert isinstance(birth, Birth)
    assert birth.software == "examples/node"
    assert all("bess" in plan.devices for plan in plans if plan.start > ELEVEN_PM)
    assert [ack.id for ack in acks if ack.accepted] == [setpoint.id for setpoint in setpoints] != []
    # From 50 % to 85 % of 30 kWh at 95 % take 11.05 kWh, of which 12 kW draw no more than 9 kWh in the other quarters.
    asked_kw = setpoints[-1].power_kw
    assert asked_kw is not None
    assert asked_kw >= (0.35 * 30 / 0.95 - 9) / 0.25 - 1e-6
    follows = [sample.body.power_kw for sample in told if sample.ts > ELEVEN_PM + QUARTER + LATE]
    assert set(follows) == {asked_kw}
    assert told[-1].ts == ELEVEN_PM + 2 * QUARTER
    assert_the_balance_closes(result)


def assert_the_balance_closes(result: RunResult) -> None:
    """At the PCC arrives what the registers of all devices say, less the losses."""
    assert result.energy_residual_kwh_max is not None
    assert result.energy_residual_kwh_max <= 1e-9


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--broker", "mqtts://127.0.0.1:0x1"), "--broker: allowed is mqtt://host:port or mqtts://host:port"),
        (("--broker", "mqtt://me:secret@127.0.0.1"), "a password goes into a file"),
        (("--broker", "mqtt://127.0.0.1", "--cafile", "ca.crt"), "is not encrypted; use mqtts://"),
        (("--broker", "mqtts://127.0.0.1", "--cafile", "none.crt"), "--cafile, --cert, --key: cannot be loaded"),
        (("--broker", "mqtts://127.0.0.1", "--cafile", "ca.crt", "--cert", "x.crt"), "given together"),
        (("--username", "x"), "--username, --password-file"),
        (("--username", "x", "--password-file", "none"), "No such file or directory: 'none'"),
    ],
)
def test_a_wrong_command_line_is_told_and_ends_the_example(
    options: tuple[str, ...], told: str, start_script: StartScript, tmp_path: Path
) -> None:
    provisioned = Secured(tmp_path / "provisioned")
    (tmp_path / "ca.crt").write_bytes(provisioned.folder.ca_certificate.read_bytes())
    assert start_script("charger.py", *options).wait(PATIENCE_S) == 2
    assert told in (tmp_path / LOG).read_text()


def test_a_certificate_is_somebodys_and_of_its_key(start_script: StartScript, tmp_path: Path) -> None:
    folder = Secured(tmp_path / "provisioned").folder
    ev1 = ("--cafile", str(folder.ca_certificate), "--cert", str(folder.certificate("ev1")))
    broker = ("--broker", "mqtts://127.0.0.1:1")
    for options, told in (
        ((*ev1, "--key", str(folder.key("ev1")), "--device", "ev2"), "is that of ev1 of the site fit-g2v"),
        ((*ev1, "--key", str(folder.key("ev2"))), "cannot be loaded"),
    ):
        assert start_script("charger.py", *broker, *options).wait(PATIENCE_S) == 2
        assert told in (tmp_path / LOG).read_text()


def test_who_is_not_let_in_is_told_so_and_keeps_trying(
    secured: Secured, start_script: StartScript, tmp_path: Path
) -> None:
    """Without a certificate; with a broker that an authority signed that is not trusted."""
    (tmp_path / "other").mkdir()
    foreign = Secured(tmp_path / "other" / "provisioned").folder.ca_certificate
    (_, trusted, *own) = carried(secured, "ev1", tmp_path)
    for options, told in (
        (("--cafile", trusted), "the connection ended"),
        (("--cafile", str(foreign), *own), "certificate verify failed"),
        (("--cafile", trusted, "--broker", "mqtts://127.0.0.1:1"), "Connection refused"),
    ):
        process = start_script("charger.py", "--broker", str(secured.address), *options)
        until(lambda told=told: (tmp_path / LOG).read_text().count(told) >= 2)
        assert process.poll() is None


@pytest.mark.parametrize("script", ["charger.py", "attach.js"])
def test_a_password_from_a_file_opens_the_broker_that_asks_for_one(
    script: str, start_program: StartProgram, start_script: StartScript, tmp_path: Path
) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None and shutil.which("mosquitto_passwd") is not None)
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "me", "right"], check=True)
    (tmp_path / "right").write_text("right\n")
    (tmp_path / "wrong").write_text("wrong\n")
    broker = BrokerAddress("127.0.0.1", _free_port())
    (tmp_path / "mosquitto.conf").write_text(
        f"listener {broker.port} {broker.host}\nallow_anonymous false\npassword_file {passwords}\nuser root\n"
    )
    start_program(str(find_mosquitto()), "-c", "mosquitto.conf")

    def start(file: str) -> None:
        options = ("--broker", str(broker), "--username", "me", "--password-file", file)
        if script == "charger.py":
            start_script(script, *options)
        else:
            start_program("node", str(lay_out(tmp_path / f"with-{file}")), *options)

    start("wrong")
    until(lambda: "Not authorized" in (tmp_path / LOG).read_text())
    start("right")
    me = Credentials(username="me", password_file=tmp_path / "right")
    observer = MqttTransport(broker, "observer", me)
    observer.connect([topic_filter(SITE, channel=Channel.BIRTH)])
    delivery = observer.receive(PATIENCE_S)
    observer.close()
    assert delivery is not None


def test_a_restarted_broker_finds_both_devices_again(
    start_program: StartProgram, start_script: StartScript, tmp_path: Path
) -> None:
    skip_without("Mosquitto", present=find_mosquitto() is not None)
    secured = Secured(tmp_path / "provisioned")
    broker = ("--broker", str(secured.address))
    script = str(lay_out(tmp_path / "elsewhere"))
    with secured.running():
        start_script("charger.py", *broker, *carried(secured, "ev1", tmp_path))
        start_program("node", script, *broker, *carried(secured, "bess", tmp_path))
        boots = online(secured)
    for state in (secured.folder.root / "broker" / "data").iterdir():
        state.unlink()  # of what it retained nothing is left
    with secured.running():
        assert online(secured) == boots


def online(secured: Secured) -> dict[str, str]:
    """The boots of both devices, once birth and state of each are there."""
    observer = secured.client("observer", everything(SITE))
    born: dict[str, str] = {}
    here: dict[str, str] = {}
    deadline = time.monotonic() + PATIENCE_S
    while not {"ev1", "bess"} <= {name for name, boot in born.items() if here.get(name) == boot}:
        assert time.monotonic() < deadline, (born, here)
        delivery = observer.receive(0.2)
        if delivery is None:
            continue
        observer.acknowledge(delivery)
        topic = Topic.parse(delivery.topic)
        stamp, body = decode(topic, delivery.payload)
        if isinstance(body, Birth):
            born[topic.device] = stamp.boot
        elif isinstance(body, State) and body.state is Presence.ONLINE:
            here[topic.device] = stamp.boot
    return born
