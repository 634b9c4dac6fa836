"""The buckets, and the task that makes quarter-hours of what was recorded.

Three buckets: ``NAME`` for the live site, with a retention; ``NAME-simulated`` for simulated runs, without one (a
point older than a bucket's retention is refused, and simulated days lie anywhere in time); ``NAME-quarters`` for
quarter-hours of both, without one. Tasks look at the time that it is now, so that they serve the live bucket; for
simulated runs `downsample` is told from when to when.
"""

from datetime import UTC, datetime, timedelta

from services.influx.forward import bucket_of
from services.influx.server import InfluxServer, flux_text

QUARTERS = "-quarters"
TASK = "twinswarm quarter-hours of "
_MEANS = ("power_kw", "available_kw", "losses_kw", "reactive_kvar", "soc_frac", "vehicle_soc_frac")
_REGISTERS = (("energy_import_kwh", "import_kwh"), ("energy_export_kwh", "export_kwh"), ("losses_kwh", "losses_kwh"))
_QUARTER_S = 900
_QUARTER = timedelta(seconds=_QUARTER_S)
_AT_ONCE = timedelta(days=1)
RETENTION_S = 90 * 86_400
"""Retention of a live bucket that is made without another one being given."""


def buckets_of(bucket: str) -> tuple[str, str, str]:
    """Names of the three: the live site's, simulated runs', quarter-hours'."""
    return bucket, bucket_of(bucket, simulated=True), f"{bucket}{QUARTERS}"


def init_history(server: InfluxServer, bucket: str, retention_s: int | None) -> list[str]:
    """Makes what is not there, changes what is otherwise; tells what it did. Called again it does nothing.

    ``retention_s`` is the live bucket's; 0 keeps for ever. None: `RETENTION_S` when it is made, and one that is there
    stays as it is: a shorter retention deletes. Raises InfluxError.
    """
    done = []
    live, simulated, quarters = buckets_of(bucket)
    wanted = [
        (live, retention_s, "twinswarm: messages of the live site"),
        (simulated, 0, "twinswarm: messages of simulated runs"),
        (quarters, 0, "twinswarm: quarter-hour means and energies"),
    ]
    for name, kept_s, description in wanted:
        found = server.bucket(name)
        if found is None:
            server.create_bucket(name, RETENTION_S if kept_s is None else kept_s, description)
            done.append(f"made bucket {name}")
        elif kept_s is not None and found.retention_s != kept_s:
            server.keep_for(found, kept_s)
            done.append(f"changed the retention of bucket {name}")
    flux = task_flux(bucket)
    found_task = server.task(f"{TASK}{bucket}")
    if found_task is None or found_task[1] != flux:
        server.put_task(f"{TASK}{bucket}", flux)
        done.append(f"{'made' if found_task is None else 'changed'} task {TASK}{bucket}")
    return done


def downsample(server: InfluxServer, bucket: str, start: datetime, stop: datetime, *, simulated: bool = True) -> None:
    """Quarter-hours of [start, stop), both rounded down to a quarter-hour. Idempotent. Raises InfluxError.

    A query a day, which the server does in the time that it has. Each begins with the last quarter of the day before:
    its energy needs the first register after it, which then may be late.
    """
    source = bucket_of(bucket, simulated=simulated)
    start, stop = _whole(start), _whole(stop)
    begin = start
    while begin < stop:
        end = min(begin + _AT_ONCE, stop)
        bounds = f"start = {_time(max(begin - _QUARTER, start))}\nstop = {_time(end)}\n"
        server.run(f'import "date"\nimport "strings"\n\n{bounds}{_quarters(source, bucket)}')
        begin = end


def task_flux(bucket: str) -> str:
    """Every quarter-hour the last hour's quarters, so that what the spool sent late still counts."""
    name = flux_text(f"{TASK}{bucket}")
    return (
        'import "date"\nimport "strings"\n\n'
        f"option task = {{name: {name}, every: 15m, offset: 2m}}\n\n"
        "stop = date.truncate(t: now(), unit: 15m)\nstart = date.sub(from: stop, d: 1h)\n" + _quarters(bucket, bucket)
    )


def _quarters(source: str, bucket: str) -> str:
    """Means of samples, and energies as differences between the first registers of a quarter and of the next one.

    The first register of the quarter after ``stop`` is looked for in its first five minutes. A quarter without a
    telemetry, or one whose register went back, has no energy.
    """
    means = " or ".join(f'r._field == "{field}"' for field in _MEANS)
    return (
        f"""
told = (until) => from(bucket: {flux_text(source)})
    |> range(start: start, stop: until)
    |> filter(fn: (r) => r._measurement =~ /_telemetry$/)

quarter = (tables=<-) => tables
    |> map(fn: (r) => ({{r with _measurement: strings.replaceAll(v: r._measurement, t: "_telemetry", u: "_quarter")}}))
    |> to(bucket: {flux_text(f"{bucket}{QUARTERS}")})

energy = (register, name) => told(until: date.add(d: 5m, to: stop))
    |> filter(fn: (r) => r._field == register)
    |> aggregateWindow(every: 15m, fn: first, timeSrc: "_start", createEmpty: false)
    |> difference(nonNegative: true, keepFirst: true)
    |> elapsed(unit: 1s)
    |> filter(fn: (r) => r.elapsed == 900 and exists r._value)
    |> drop(columns: ["elapsed"])
    |> timeShift(duration: -15m)
    |> set(key: "_field", value: name)
    |> quarter()

told(until: stop)
    |> filter(fn: (r) => {means})
    |> aggregateWindow(every: 15m, fn: mean, timeSrc: "_start", createEmpty: false)
    |> quarter()
    |> yield(name: "means")

"""
        + "\n".join(
            f'energy(register: "{register}", name: "{name}") |> yield(name: "{name}")' for register, name in _REGISTERS
        )
        + "\n"
    )


def _whole(time: datetime) -> datetime:
    return datetime.fromtimestamp(int(time.timestamp()) // _QUARTER_S * _QUARTER_S, UTC)


def _time(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
