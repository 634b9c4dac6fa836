"""Tokens that ``init-history`` makes, at a real server: what they can do, what they cannot, when they are renewed."""

import itertools
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from services.influx.downsample import buckets_of
from services.influx.server import ALL_TIME, InfluxDeniedError, InfluxError
from tests.influx.lab import ORG, TOKEN, Influx
from tests.parts import skip_without
from twinswarm.cli import main

_names = (f"tokens{number}" for number in itertools.count())


@pytest.fixture
def name() -> str:
    """Of a history that is not there yet."""
    return next(_names)


def init(influx: Influx, name: str, *more: str, token: str = TOKEN, code: int = 0) -> None:
    os.environ["TWINSWARM_INFLUX_TOKEN"] = token
    command = ["init-history", "--influx", influx.url, "--org", ORG, "--bucket", name, *more]
    with pytest.raises(SystemExit) as end:
        main(command)
    assert (end.value.code or 0) == code


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("TWINSWARM_INFLUX_TOKEN_FILE", raising=False)
    monkeypatch.setenv("TWINSWARM_INFLUX_TOKEN", "")
    yield


def tokens(influx: Influx, name: str) -> list[str]:
    """Of this history, as the server's own interface lists them."""
    listed = influx.ask("/api/v2/authorizations")["authorizations"]
    return [one["token"] for one in listed if f" {name}," in one["description"]]


def rows(influx: Influx, token: str, bucket: str) -> int:
    with closing(influx.server(token)) as server:
        return len(list(server.query(f'from(bucket: "{bucket}") |> {ALL_TIME}')))


def test_one_token_writes_and_reads_the_history_and_the_other_only_reads_it(
    influx: Influx, name: str, tmp_path: Path
) -> None:
    init(influx, name, "--write-token", str(tmp_path / "w"), "--read-token", str(tmp_path / "r"))
    writes, reads = (tmp_path / "w").read_text(), (tmp_path / "r").read_text()
    assert {stat.S_IMODE((tmp_path / file).stat().st_mode) for file in "wr"} == {0o400}
    assert sorted(tokens(influx, name)) == sorted((writes, reads))
    for bucket in buckets_of(name):
        with closing(influx.server(writes)) as server:
            server.write(bucket, ["m f=1 1715724000000000000"] if bucket != name else ["m f=1"])
        assert (rows(influx, writes, bucket), rows(influx, reads, bucket)) == (1, 1)
        with closing(influx.server(reads)) as server, pytest.raises(InfluxDeniedError):
            server.write(bucket, ["m f=2"])


def test_neither_reaches_another_bucket_nor_makes_buckets_or_tokens(
    influx: Influx, name: str, bucket: str, tmp_path: Path
) -> None:
    init(influx, name, "--write-token", str(tmp_path / "w"), "--read-token", str(tmp_path / "r"))
    for file in "wr":
        with closing(influx.server((tmp_path / file).read_text())) as server:
            assert server.bucket(f"{bucket}-simulated") is None
            with pytest.raises(InfluxError):
                list(server.query(f'from(bucket: "{bucket}-simulated") |> {ALL_TIME}'))
            with pytest.raises(InfluxError):
                server.write(f"{bucket}-simulated", ["m f=1"])
            with pytest.raises(InfluxDeniedError):
                server.create_bucket("mine", 0, "")
            with pytest.raises(InfluxDeniedError):
                server.authorize("mine", [])
            assert server.authorizations() == []


def test_a_token_that_works_is_left_alone(
    influx: Influx, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ("--write-token", str(tmp_path / "w"), "--read-token", str(tmp_path / "r"))
    init(influx, name, *files)
    told = capsys.readouterr()
    kept = {file: ((tmp_path / file).read_text(), (tmp_path / file).stat().st_mtime_ns) for file in "wr"}
    assert not any(token in told.out + told.err for token, _ in kept.values())
    assert "made a token that writes" in told.out
    init(influx, name, *files)
    assert capsys.readouterr().out == "everything is there\n"
    assert {file: ((tmp_path / file).read_text(), (tmp_path / file).stat().st_mtime_ns) for file in "wr"} == kept


@pytest.mark.parametrize("held", [None, "", "no-token-of-this-server", "the other's"])
def test_a_token_that_does_not_work_is_made_anew_and_the_one_before_holds_no_longer(
    held: str | None, influx: Influx, name: str, tmp_path: Path
) -> None:
    write, read = tmp_path / "w", tmp_path / "r"
    init(influx, name, "--write-token", str(write), "--read-token", str(read))
    old, others = read.read_text(), write.read_text()
    read.unlink()
    if held is not None:
        read.write_text(others if held == "the other's" else held)
    init(influx, name, "--write-token", str(write), "--read-token", str(read))
    assert write.read_text() == others
    assert sorted(tokens(influx, name)) == sorted((others, read.read_text()))
    assert rows(influx, read.read_text(), name) == 0
    with pytest.raises(InfluxDeniedError):
        rows(influx, old, name)


def test_a_bucket_that_was_made_anew_gets_a_token_of_its_own(influx: Influx, name: str, tmp_path: Path) -> None:
    file = tmp_path / "r"
    init(influx, name, "--read-token", str(file))
    before = file.read_text()
    with closing(influx.server()) as server:
        found = server.bucket(f"{name}-quarters")
        assert found is not None
        server.remove_bucket(found)
    init(influx, name, "--read-token", str(file))
    assert file.read_text() != before
    assert rows(influx, file.read_text(), f"{name}-quarters") == 0


def test_as_root_it_belongs_to_the_account_that_is_named_or_else_to_its_folder_s(
    influx: Influx, name: str, tmp_path: Path
) -> None:
    skip_without("the right to give files to other accounts (root)", present=os.geteuid() == 0)
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, 10001, 10001)
    init(influx, name, "--write-token", str(folder / "w"), "--read-token", f"{folder / 'r'}:472")
    owners = {file: ((folder / file).stat().st_uid, (folder / file).stat().st_gid) for file in "wr"}
    assert owners == {"w": (10001, 10001), "r": (472, 472)}


@pytest.mark.parametrize("text", ["", ":1", "file:", "file:me", "file:4294967295"])
def test_what_is_no_file_and_account_is_refused(
    text: str, influx: Influx, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    init(influx, name, "--read-token", text, code=2)
    assert "FILE:UID" in capsys.readouterr().err


def test_a_token_that_may_not_make_tokens_is_told_so(
    influx: Influx, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init(influx, name, "--write-token", str(tmp_path / "w"))
    init(influx, name, "--read-token", str(tmp_path / "r"), token=(tmp_path / "w").read_text(), code=1)
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert not (tmp_path / "r").exists()


def test_it_waits_for_a_server_that_is_just_starting_and_not_for_ever(
    own_influx: Influx, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init(own_influx, name, "--wait", "1.5", code=1)
    error = capsys.readouterr().err
    assert "waiting at most 1.5 s" in error
    assert "waited 1.5 s for it" in error
    own_influx.start()
    own_influx.set_up()
    own_influx.kill()
    starting = threading.Timer(1.0, own_influx.start)
    starting.start()
    try:
        init(own_influx, name, "--read-token", str(tmp_path / "r"))
    finally:
        starting.join()
    assert rows(own_influx, (tmp_path / "r").read_text(), name) == 0


def test_a_server_that_was_never_set_up_is_set_up_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    password, token = tmp_path / "password", tmp_path / "token"
    password.write_text("a password of its own\n")
    token.write_text("a-token-of-its-own\n")
    fresh = Influx(tmp_path)
    fresh.start()
    try:
        order = ("--token-file", str(token), "--set-up", str(password), "--retention", "30")
        init(fresh, "history", *order)
        told = capsys.readouterr().out
        assert f"set up {fresh.url}" in told
        assert "a password" not in told
        assert "a-token" not in told
        with closing(fresh.server("a-token-of-its-own")) as server:
            made = server.bucket("history")
        assert made is not None
        assert made.retention_s == 30 * 86_400
        password.write_text("another password")
        init(fresh, "history", *order)
        assert capsys.readouterr().out == "everything is there\n"
    finally:
        fresh.kill()


def test_a_password_that_influxdb_would_not_take_is_a_fault(
    influx: Influx, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    password = tmp_path / "password"
    password.write_text("short\n")
    init(influx, name, "--set-up", str(password), code=2)
    error = capsys.readouterr().err
    assert "a password of 8 to 72 bytes is wanted in it, not one of 5" in error
    assert "short" not in error
