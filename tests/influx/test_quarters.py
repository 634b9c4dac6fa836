"""Buckets and quarter-hours, made by a real server."""

import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services.history.store import HistoryStore
from services.influx.downsample import downsample, init_history, task_flux
from services.influx.forward import Forwarder
from services.influx.server import ALL_TIME, InfluxServer
from services.influx.spool import Spool
from tests.history.tape import RUN, Tape, at_noon, record
from tests.influx.lab import ORG, TOKEN, Influx
from twinswarm.cli import main

T0 = datetime(2024, 5, 14, 22, tzinfo=UTC)
_DAY_S = 86_400


def test_init_history_makes_everything_once_and_changes_only_what_differs(influx: Influx) -> None:
    with closing(influx.server()) as server:
        made = init_history(server, "once", 90 * _DAY_S)
        assert made == [
            "made bucket once",
            "made bucket once-simulated",
            "made bucket once-quarters",
            "made task twinswarm quarter-hours of once",
        ]
        assert init_history(server, "once", 90 * _DAY_S) == []
        assert init_history(server, "once", 30 * _DAY_S) == ["changed the retention of bucket once"]
        kept = {name: server.bucket(f"once{name}") for name in ("", "-simulated", "-quarters")}
        assert {name: found.retention_s for name, found in kept.items() if found} == {
            "": 30 * _DAY_S,
            "-simulated": 0,
            "-quarters": 0,
        }
        server.put_task("twinswarm quarter-hours of once", task_flux("once").replace("offset: 2m", "offset: 3m"))
        assert init_history(server, "once", 30 * _DAY_S) == ["changed task twinswarm quarter-hours of once"]
        assert init_history(server, "once", 30 * _DAY_S) == []


def test_retention_of_a_bucket_that_is_there_changes_only_when_one_is_told(influx: Influx) -> None:
    with closing(influx.server()) as server:
        init_history(server, "stays", None)
        found = server.bucket("stays")
        assert found is not None and found.retention_s == 90 * _DAY_S
        init_history(server, "stays", 0)
        assert init_history(server, "stays", None) == []
        found = server.bucket("stays")
        assert found is not None and found.retention_s == 0


def test_empty_name_is_no_bucket(influx: Influx) -> None:
    with closing(influx.server()) as server:
        init_history(server, "named", 0)
        assert server.bucket("") is None


def quarters(server: InfluxServer, bucket: str, device: str, field: str) -> list[tuple[str, float]]:
    where = f'r.device == "{device}" and r._field == "{field}"'
    flux = f'from(bucket: "{bucket}") |> {ALL_TIME} |> filter(fn: (r) => {where}) |> sort(columns: ["_time"])'
    return [(row["_time"], float(row["_value"])) for row in server.query(flux)]


def test_quarter_hours_of_a_simulated_day_are_its_energies_and_means(
    tmp_path: Path, influx: Influx, bucket: str, token_file: Path
) -> None:
    path = tmp_path / "h.sqlite"
    record(Tape(), path)
    with closing(influx.server()) as server:
        server.create_bucket(f"{bucket}-quarters", 0, "a test's")
        with closing(HistoryStore(path, durable=False)) as store:
            Forwarder(Spool(store), server, bucket, now=at_noon, wait=lambda _: True).drain()
        command = ["downsample", "--influx", influx.url, "--org", ORG, "--bucket", bucket]
        command += ["--token-file", str(token_file), "--from", "2024-05-14T22:00", "--to", "2024-05-15T22:00"]
        for _ in range(2):
            with pytest.raises(SystemExit) as end:
                main(command)
            assert not end.value.code
        # The BESS takes 8 kW for two hours from local midnight and gives 5 kW for two hours from 18:00.
        taken = quarters(server, f"{bucket}-quarters", "bess", "import_kwh")
        assert len(taken) == 96
        assert [energy for _, energy in taken] == [2.0] * 8 + [0.0] * 88
        assert taken[0][0] == "2024-05-14T22:00:00Z"
        given = dict(quarters(server, f"{bucket}-quarters", "bess", "export_kwh"))
        assert given["2024-05-15T16:00:00Z"] == 1.25
        assert sum(given.values()) == 10.0
        assert dict(quarters(server, f"{bucket}-quarters", "bess", "power_kw"))["2024-05-14T22:00:00Z"] == 8.0
        lost = quarters(server, f"{bucket}-quarters", "network", "losses_kwh")
        assert [energy for _, energy in lost] == [0.125] * 96


def test_quarter_without_telemetry_has_no_energy_and_no_other_quarter_gets_it(influx: Influx) -> None:
    lines = [
        f"meter_telemetry,device=m,kind=meter,run={RUN},site=s power_kw={float(n)},energy_import_kwh={float(n * n)} "
        f"{(int(T0.timestamp()) + n * 900) * 10**9}"
        for n in range(10)
        if n not in (4, 5)
    ]
    with closing(influx.server()) as server:
        for name in ("gap-simulated", "gap-quarters"):
            server.create_bucket(name, 0, "a test's")
        server.write("gap-simulated", lines)
        downsample(server, "gap", T0, T0 + timedelta(hours=2))
        found = dict(quarters(server, "gap-quarters", "m", "import_kwh"))
    # Registers are squares: between n and n + 1 lie 2 n + 1 kWh. After quarters 3 and 5 a register is missing.
    at = {f"{T0 + timedelta(minutes=15 * n):%Y-%m-%dT%H:%M:%SZ}": 2.0 * n + 1 for n in (0, 1, 2, 6, 7)}
    assert found == at


def test_days_that_are_computed_one_by_one_are_those_of_the_whole(influx: Influx) -> None:
    class Counting(InfluxServer):
        queries = 0

        def run(self, flux: str) -> None:
            self.queries += 1
            super().run(flux)

    # Registers are squares; the first one of the second and the third day comes after seven minutes.
    lines = [
        f"meter_telemetry,device=m,kind=meter,run={RUN},site=s power_kw={float(n)},energy_import_kwh={float(n * n)} "
        f"{(int(T0.timestamp()) + n * 900 + 420 * (n > 0 and n % 96 == 0)) * 10**9}"
        for n in range(3 * 96)
    ]
    with closing(Counting(influx.url, ORG, TOKEN)) as server:
        for name in ("days-simulated", "days-quarters"):
            server.create_bucket(name, 0, "a test's")
        server.write("days-simulated", lines)
        downsample(server, "days", T0, T0 + timedelta(hours=70))
        assert server.queries == 3
        found = quarters(server, "days-quarters", "m", "import_kwh")
        means = quarters(server, "days-quarters", "m", "power_kw")
    assert [kwh for _, kwh in found] == [2.0 * n + 1 for n in range(280)]
    assert [kw for _, kw in means] == [float(n) for n in range(280)]


def test_task_of_the_live_bucket_computes_the_quarters_that_have_passed(influx: Influx) -> None:
    # The task's own text, run as a query at this moment.
    with closing(influx.server()) as server:
        init_history(server, "tasked", 90 * _DAY_S)
        stop = int(datetime.now(UTC).timestamp()) // 900 * 900
        lines = [
            f"bess_telemetry,device=b,kind=bess,run={RUN},site=s power_kw=4.0,energy_import_kwh={n / 60.0} "
            f"{(stop - 3600 + n * 15) * 10**9}"
            for n in range(241)
        ]
        server.write("tasked", lines)
        server.run(task_flux("tasked"))
        energies = quarters(server, "tasked-quarters", "b", "import_kwh")
        assert [round(energy, 9) for _, energy in energies] == [1.0] * 4
        assert [kw for _, kw in quarters(server, "tasked-quarters", "b", "power_kw")] == [4.0] * 4


def test_server_runs_the_task_at_its_time(influx: Influx) -> None:
    with closing(influx.server()) as server:
        init_history(server, "timed", 90 * _DAY_S)
        stop = int(datetime.now(UTC).timestamp()) // 900 * 900
        # A register that gains 2 kWh a quarter, told at each quarter's start; the task's time is the last of them.
        server.write(
            "timed",
            [
                f"pv_telemetry,device=pv,kind=pv,run={RUN},site=s energy_export_kwh={2.0 * n} "
                f"{(stop - 4 * 900 + n * 900) * 10**9}"
                for n in range(5)
            ],
        )
        task = server.task("twinswarm quarter-hours of timed")
        assert task is not None
        at = datetime.fromtimestamp(stop, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        influx.ask(f"/api/v2/tasks/{task[0]}/runs", {"scheduledFor": at})
        # By what it wrote: a run that has just ended is for a moment in neither of the server's lists of runs.
        patience, exported = threading.Event(), []
        for _ in range(200):
            exported = [kwh for _, kwh in quarters(server, "timed-quarters", "pv", "export_kwh")]
            if len(exported) == 4:
                break
            patience.wait(0.1)
        assert exported == [2.0] * 4


def test_init_history_by_command_says_what_it_did(
    influx: Influx, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["init-history", "--influx", influx.url, "--org", ORG, "--bucket", "cli", "--retention", "30"]
    for told in ("made bucket cli\n", "everything is there\n"):
        with pytest.raises(SystemExit) as end:
            main([*command, "--token-file", str(token_file)])
        assert not end.value.code
        assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["init-history", "--retention", "1"], "--retention"),
        (["init-history", "--influx", "ftp://x"], "--influx"),
        (["init-history", "--bucket", ""], "--bucket: is not to be empty"),
        (["init-history", "--bucket", "b", "--org", " "], "--org: is not to be empty"),
        (["downsample", "--from", "2024-05-15", "--to", "2024-05-16", "--bucket", ""], "--bucket: is not to be empty"),
        (["forward", "--bucket", ""], "--bucket: is not to be empty"),
        (["savings", "--write", "--bucket", ""], "--bucket: is not to be empty"),
        (["forward", "--keep", "0"], "--keep"),
        (["init-history", "--influx", "http://"], "--influx: http://host:port"),
        (["init-history", "--influx", "http://h:abc"], "--influx: http://host:port"),
        (["init-history", "--influx", "http://[::1"], "--influx: http://host:port"),
        (["init-history", "--influx", "http://me:pass@h:1"], "--influx: is an address alone"),
        (["downsample", "--from", "0001-01-01T00:00+05:00", "--to", "2024-05-15"], "--from: a time from 1970"),
        (["downsample", "--from", "2024-05-15", "--to", "9999-12-31T23:59-10:00"], "--to: a time from 1970"),
        (["downsample", "--from", "tomorrow", "--to", "2024-05-15"], "--from"),
        (["downsample", "--from", "2024-05-15", "--to", "2024-05-15"], "--to"),
    ],
)
def test_wrong_options_are_named(
    command: list[str], told: str, token_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command, "--token-file", str(token_file)])
    assert end.value.code == 2
    assert told in capsys.readouterr().err
