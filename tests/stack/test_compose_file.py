"""The compose file of a site: drift, what it promises of every container, other sites, wrong input."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.provision.workspace import clients_of
from schemas.topics import Kind
from sites.loader import load_site
from tests.cli.calling import call
from tests.parts import skip_without
from tests.stack.stack import ROOT, has_compose
from twinswarm.deploy.stack.compose_file import StackOrder, compose_file
from twinswarm.deploy.stack.secrets import participants

DEFAULT = ROOT / "compose.yaml"
TWINS = {"ev1", "ev2", "ev3", "ev4", "bess", "pv", "building", "network"}
STANDING = {"mosquitto", "influxdb", "init-history", "recorder", "forward", "savings", "forecast", "tariff", "grafana"}
OF_OURS = "${TWINSWARM_IMAGE:-twinswarm}"


def services(file: Path = DEFAULT) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text(encoding="utf-8"))["services"]
    return found


def in_profile(file: Path, profile: str | None) -> set[str]:
    return {name for name, told in services(file).items() if told.get("profiles") == (profile and [profile])}


@pytest.fixture
def folder_site(tmp_path: Path) -> Path:
    """A site of the user's own: that of `twinswarm init`."""
    assert call("init", "mysite", cwd=tmp_path).returncode == 0
    return tmp_path


def test_the_checked_in_file_is_the_output_for_the_default_site() -> None:
    text = compose_file(StackOrder(load_site("fit_g2v"), "fit_g2v", in_the_image="fit_g2v"))
    assert DEFAULT.read_text(encoding="utf-8") == text, "write it anew: twinswarm compose fit_g2v"


def test_profiles_have_who_belongs_there() -> None:
    assert in_profile(DEFAULT, None) == STANDING
    assert in_profile(DEFAULT, "sim") == TWINS | {"ems", "clock"}
    assert in_profile(DEFAULT, "live") == {"ems-live", "clock-live"}
    assert in_profile(DEFAULT, "provision") == {"provision"}


@pytest.mark.parametrize("name", services())
def test_a_container_may_no_more_than_its_work(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"] != "0:0" or service["cap_add"] == ["CHOWN", "DAC_OVERRIDE", "FOWNER"]
    assert {"mem_limit", "cpus", "pids_limit"} <= service.keys()
    assert service["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert service["restart"] == {"provision": "no", "init-history": "on-failure"}.get(name, "unless-stopped")
    assert "privileged" not in service


@pytest.mark.parametrize("name", services())
def test_a_container_mounts_its_own_secrets_alone(name: str) -> None:
    own = name.removesuffix("-live")
    mounted = {volume for volume in services()[name]["volumes"] if volume.startswith("secrets-")}
    if name == "provision":
        assert all(re.fullmatch(r"secrets-([a-z0-9-]+):/secrets/\1", volume) for volume in mounted)
        return
    given = f"secrets-{own}:/run/secrets/twinswarm:ro"
    if name == "init-history":
        consumers = ("forward", "savings", "grafana")
        assert mounted == {given, *(f"secrets-{consumer}:/secrets/{consumer}" for consumer in consumers)}
    else:
        assert mounted == ({given} if name != "mosquitto" else set())
    assert not any(volume.startswith("authority:") for volume in services()[name]["volumes"])


def test_nothing_but_the_broker_and_grafana_is_published_and_to_loopback() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert published == {
        "mosquitto": ["${TWINSWARM_MQTT_ADDRESS:-127.0.0.1}:${TWINSWARM_MQTT_PORT:-8883}:8883"],
        "grafana": ["${TWINSWARM_GRAFANA_ADDRESS:-127.0.0.1}:${TWINSWARM_GRAFANA_PORT:-3000}:3000"],
    }
    outside = {name for name, service in services().items() if "outside" in service["networks"]}
    assert outside == published.keys()
    networks = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))["networks"]
    assert networks == {"field": {"internal": True}, "history": {"internal": True}, "outside": None}


def test_images_of_others_are_pinned_and_ours_is_never_pulled() -> None:
    for service in services().values():
        if service["image"] == OF_OURS:
            assert service["pull_policy"] == "never"
        else:
            assert re.fullmatch(r"[a-z/-]+:\d+\.\d+\.\d+", service["image"])


def test_every_service_has_a_probe_save_those_that_end() -> None:
    without = {name for name, told in services().items() if "test" not in told["healthcheck"]}
    assert without == {"provision", "init-history"}


def test_env_example_lists_every_variable_with_its_default() -> None:
    used = dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", DEFAULT.read_text(encoding="utf-8")))
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    listed = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert listed.pop("COMPOSE_PROFILES") == "sim"
    assert listed == used


def test_all_containers_of_a_variant_read_one_resolved_site(tmp_path: Path) -> None:
    done = call("compose", "fit_g2v", "--case", "3", "--storage", "v2g", "--out", "c.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "c.yaml\nfit-g2v.site.json\n")
    resolved = call("site", "resolve", "fit_g2v", "--case", "3", "--storage", "v2g", cwd=tmp_path).stdout
    assert (tmp_path / "fit-g2v.site.json").read_text() == resolved
    made = services(tmp_path / "c.yaml")
    assert "bess" not in made, "it does not take part"
    participants = [name for name, told in made.items() if "--broker" in told.get("command", "")]
    assert set(participants) == {*TWINS - {"bess"}, "ems", "clock", "recorder", "forecast", "tariff"} | {
        "ems-live",
        "clock-live",
    }
    for name in participants:
        assert "--site /etc/twinswarm/site.json --broker" in made[name]["command"]
        assert made[name]["configs"] == [{"source": "site", "target": "/etc/twinswarm/site.json"}]
    assert "stack /etc/twinswarm/site.json" in made["provision"]["command"]
    assert "--case" not in (tmp_path / "c.yaml").read_text().replace("`twinswarm compose fit_g2v --case 3", "")


def test_a_site_with_feeds_has_them_in_live_alone_with_a_way_outside_and_their_tokens(folder_site: Path) -> None:
    file = folder_site / "mysite" / "site.yaml"
    file.write_text(file.read_text() + "\nfeeds:\n  price: {type: tibber, token_env: TIBBER_TOKEN}\n")
    assert call("compose", "mysite", cwd=folder_site).returncode == 0
    made = services(folder_site / "compose.yaml")
    assert made["tariff"]["profiles"] == ["sim"]
    assert "--feeds" not in made["tariff"]["command"]
    live = made["tariff-live"]
    assert live["profiles"] == ["live"]
    assert "tariff --feeds /var/lib/twinswarm/feeds --site" in " ".join(live["command"].split())
    assert live["networks"] == ["field", "outside"]
    assert live["environment"] == {
        "TWINSWARM_LOG_FORMAT": "${TWINSWARM_LOG_FORMAT:-text}",
        "TIBBER_TOKEN": "${TIBBER_TOKEN:?a secret of tariff}",
    }
    assert "profiles" not in made["forecast"]
    assert "forecast-live" not in made


def test_a_site_of_ones_own_is_carried_in_a_file_beside_it(folder_site: Path) -> None:
    done = call("compose", "mysite", cwd=folder_site)
    assert (done.returncode, done.stderr) == (0, "")
    file, beside = (folder_site / line for line in done.stdout.splitlines())
    assert load_site(beside) == load_site(folder_site / "mysite"), "as it is, profiles inlined"
    described = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert described["configs"] == {"site": {"file": beside.name}}
    for service in described["services"].values():
        if service["image"] == OF_OURS and "--site" in service["command"]:
            assert service["configs"] == [{"source": "site", "target": "/etc/twinswarm/site.json"}]
            assert "--site /etc/twinswarm/site.json" in service["command"]
    assert beside.stat().st_mode & 0o044 == 0o044, "containers read it under other accounts"


def test_another_site_makes_every_container_that_reads_it_anew(folder_site: Path) -> None:
    """Compose compares what describes a container, and what is in a mounted file is no part of that."""
    described = folder_site / "mysite" / "site.yaml"
    made = []
    for limit in ("import_limit_kw: 60", "import_limit_kw: 50"):
        described.write_text(re.sub(r"import_limit_kw: \d+", limit, described.read_text()), encoding="utf-8")
        assert call("compose", "mysite", cwd=folder_site).returncode == 0
        made.append(services(folder_site / "compose.yaml"))
    reading = {name for name, told in made[0].items() if told.get("configs")}
    assert reading >= {"ems", "ems-live", "clock", "recorder", "provision", "network", "bess"}
    assert {name for name in made[0] if made[0][name] != made[1][name]} == reading


@pytest.mark.parametrize(("site", "storage"), [("fit_g2v", "both"), ("carpark", "none"), ("mysite", "both")])
def test_compose_accepts_the_file(site: str, storage: str, folder_site: Path) -> None:
    skip_without("Docker Compose", present=has_compose())
    assert call("compose", site, "--storage", storage, "--out", "c.yaml", cwd=folder_site).returncode == 0
    command = ["docker", "compose", "-f", "c.yaml", "--profile", "*", "config", "--quiet"]
    checked = subprocess.run(command, cwd=folder_site, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_writing_again_replaces_what_this_command_wrote_and_nothing_else(tmp_path: Path) -> None:
    for _ in range(2):
        assert call("compose", "fit_g2v", cwd=tmp_path).returncode == 0
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    done = call("compose", "fit_g2v", cwd=tmp_path)
    assert done.returncode == 2
    told = "--out: is there, and this command did not write it; give another name (received 'compose.yaml') [exists]"
    assert done.stderr == f"error: {told}\n"
    assert (tmp_path / "compose.yaml").read_text() == "services: {}\n"


def test_standard_output_carries_sites_in_the_box_alone(folder_site: Path) -> None:
    assert call("compose", "fit_g2v", "--out", "-", cwd=folder_site).stdout == DEFAULT.read_text(encoding="utf-8")
    done = call("compose", "mysite", "--out", "-", cwd=folder_site)
    assert done.returncode == 2
    assert "has to stand beside the compose file; name a file" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("nowhere",), "there is no such file"),
        (("fit_g2v", "--case", "9"), "--case: the site fit-g2v has the cases 1, 2, 3, 4, 5, 6"),
        (("fit_g2v", "--out", "file/c.yaml"), "--out: cannot be written: "),
        (("fit_g2v", "--case", "3", "--out", "file/deep/c.yaml"), "--out: cannot be written: "),
    ],
)
def test_wrong_input_is_told(words: tuple[str, ...], told: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = call("compose", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr


def test_the_folder_of_the_file_is_made_with_the_description_beside_it(tmp_path: Path) -> None:
    done = call("compose", "fit_g2v", "--case", "3", "--out", "new/deep/c.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "new/deep/c.yaml\nnew/deep/fit-g2v.site.json\n")
    assert services(tmp_path / "new" / "deep" / "c.yaml")
    assert (tmp_path / "new" / "deep" / "fit-g2v.site.json").is_file()


def test_a_device_called_like_a_service_of_the_stack_is_refused(folder_site: Path) -> None:
    site = load_site("fit_g2v")
    renamed = site.model_copy(update={"devices": {"grafana": site.devices["ev1"], **site.devices}})
    (folder_site / "s.json").write_text(renamed.model_dump_json())
    done = call("compose", "s.json", cwd=folder_site)
    assert done.returncode == 2
    assert done.stderr == "error: devices.grafana: the stack has a service of this name (received grafana) [reserved]\n"


def test_devices_whose_names_yaml_reads_as_something_else_are_services_all_the_same(folder_site: Path) -> None:
    file = folder_site / "mysite" / "site.yaml"
    text = file.read_text()
    for old, new in (("  ev1:", '  "1":'), ("  ev2:", '  "null":'), ("  bess:", '  "2024-05-17":')):
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    assert call("compose", "mysite", "--out", "c.yaml", cwd=folder_site).returncode == 0
    found = services(folder_site / "c.yaml")
    assert {"1", "null", "2024-05-17"} <= found.keys()
    assert {"1", "null", "2024-05-17"} <= found["clock"]["depends_on"].keys()


def test_a_device_that_compose_cannot_name_is_a_fault(folder_site: Path) -> None:
    file = folder_site / "mysite" / "site.yaml"
    file.write_text(file.read_text().replace("  ev1:", "  -ev1:"))
    done = call("compose", "mysite", "--out", "c.yaml", cwd=folder_site)
    assert done.returncode == 2
    assert "devices.-ev1: a service of Compose begins with a letter or a digit (received -ev1)" in done.stderr
    assert not (folder_site / "c.yaml").exists()


def test_a_file_in_the_place_of_the_description_is_not_replaced(folder_site: Path) -> None:
    assert call("compose", "mysite", "--out", "c.yaml", cwd=folder_site).returncode == 0
    assert call("compose", "mysite", "--out", "c.yaml", cwd=folder_site).returncode == 0, "its own may be"
    described = next(folder_site.glob("*.site.json"))
    own = described.read_text().replace("\n", " ")
    described.write_text(own)
    done = call("compose", "mysite", "--out", "c.yaml", cwd=folder_site)
    assert done.returncode == 2
    assert described.name in done.stderr
    assert described.read_text() == own


def test_a_name_that_the_machine_does_not_take_is_told(tmp_path: Path) -> None:
    done = call("compose", "fit_g2v", "--out", "y" * 300, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: yyy")
    assert "File name too long" in done.stderr


MEMBERS = """
limits:
  control-box:
    type: modbus_relay
    host: 192.0.2.50
    inputs: {dimmed: {address: 0}}
    rules: [{when: {dimmed: true}, import_kw: 4.2}, {when: {dimmed: false}}]
  utility:
    type: openadr
    url: https://vtn.example.org/openadr3/3.1.0
    client_id: my-site
    client_secret_env: VTN_SECRET
ghosts:
  newbess: {kind: bess, capacity_kwh: 20, max_charge_kw: 10, max_discharge_kw: 10}
"""


def test_every_process_of_a_live_site_is_a_service_with_a_certificate_of_its_own(folder_site: Path) -> None:
    file = folder_site / "mysite" / "site.yaml"
    text = file.read_text().replace("\nems:\n", "\nems:\n  requests: {most_h: 2}\n") + MEMBERS
    text = text.replace(
        "  bess:\n    kind: bess\n",
        "  bess:\n    kind: bess\n    shadow: true\n    driver: {type: sunspec, host: 192.0.2.20}\n",
    )
    file.write_text(text)
    assert call("compose", "mysite", cwd=folder_site).returncode == 0
    made = services(folder_site / "compose.yaml")
    expected = {
        "bess-live": ("bess", "drive bess", True),
        "control-box": ("control-box", "limiter control-box", True),
        "utility": ("utility", "limiter utility", True),
        "shadow-bess-live": ("shadow-bess", "twin shadow-bess", False),
        "ghosts-live": ("ghosts", "twin ghosts", False),
    }
    assert in_profile(folder_site / "compose.yaml", "live") == {*expected, "ems-live", "clock-live"}
    (folder,) = folder_site.glob("*.site.json")
    site = load_site(folder)
    rights = clients_of(site)
    for name, (identity, command, outside) in expected.items():
        service = made[name]
        assert " ".join(service["command"].split()).startswith(f"{command} --site /etc/twinswarm/site.json --broker")
        assert f"secrets-{identity}:/run/secrets/twinswarm:ro" in service["volumes"]
        assert f"secrets-{identity}:/secrets/{identity}" in made["provision"]["volumes"]
        assert service["networks"] == (["field", "outside"] if outside else ["field"])
        assert identity in participants(site), "its volume is filled"
    assert (rights["control-box"], rights["utility"]) == (Kind.LIMITER, Kind.LIMITER)
    assert made["utility"]["environment"]["VTN_SECRET"] == "${VTN_SECRET:?a secret of utility}"
    assert "VTN_SECRET" not in made["control-box"]["environment"]
    home = made["homeassistant"]
    assert "profiles" not in home
    assert " ".join(home["command"].split()).startswith("homeassistant /etc/twinswarm/site.json --commands --broker")
    assert (rights["homeassistant"], rights["home"]) == (Kind.OPERATOR, None)


def test_names_of_the_stack_are_no_names_of_limits(folder_site: Path) -> None:
    file = folder_site / "mysite" / "site.yaml"
    file.write_text(file.read_text() + MEMBERS.replace("control-box", "grafana"))
    done = call("compose", "mysite", cwd=folder_site)
    assert done.returncode == 2
    assert "limits.grafana: the stack has a service of this name (received grafana)" in done.stderr
