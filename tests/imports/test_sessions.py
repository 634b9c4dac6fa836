"""Charging sessions of which begin, end and energy are known: what becomes of them in a site."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from schemas.errors import Code, InputError
from schemas.site import Charger
from sites.loader import load_site
from sites.loader.template import write_template
from tests.imports.written import comma, table
from twinswarm.imports.imported import ImportedSessions
from twinswarm.imports.options import Kind, Options
from twinswarm.imports.reading import read_file
from twinswarm.imports.target import target_of
from twinswarm.imports.vehicles import placed, rows_of

VIENNA = ZoneInfo("Europe/Vienna")
STAYS = [
    (
        datetime(2024, 5, 13 + day, 6, 30, tzinfo=UTC) + timedelta(minutes=13 * n),
        timedelta(hours=4 + n),
        8.0 + 3 * n + day,
        n,
    )
    for day in range(5)
    for n in range(4)
]
"""Begin, length, kWh, charge point: four a day, which overlap, from Monday to Friday."""
KWH = sum(kwh for _, _, kwh, _ in STAYS)


def ocpp() -> str:
    """The columns of StartTransaction and StopTransaction of OCPP 1.6: meter readings in Wh."""
    header = "transactionId,chargeBoxId,connectorId,idTag,startTimestamp,meterStart,stopTimestamp,meterStop,reason"
    rows = [
        [str(i), f"BOX{n % 2}", str(1 + n // 2), f"TAG{n}", f"{t:%Y-%m-%dT%H:%M:%S.000Z}", "5000",
         f"{t + length:%Y-%m-%dT%H:%M:%S.000Z}", f"{5000 + kwh * 1000:.0f}", "EVDisconnected"]
        for i, (t, length, kwh, n) in enumerate(STAYS)
    ]  # fmt: skip
    return table(header, rows, ",")


def acn() -> str:
    """As the API of ACN-Data answers."""
    items = [
        {
            "_id": str(i),
            "clusterID": "0039",
            "siteID": "0001",
            "stationID": f"2-39-1-{n}",
            "spaceID": f"CA-{n}",
            "connectionTime": format_datetime(t, usegmt=True),
            "disconnectTime": format_datetime(t + length, usegmt=True),
            "doneChargingTime": None,
            "kWhDelivered": kwh,
            "timezone": "America/Los_Angeles",
            "userID": f"000{n}",
            "userInputs": [
                {"kWhRequested": 9.0, "requestedDeparture": format_datetime(t + timedelta(hours=hours), usegmt=True)}
                for hours in (1, 3)
            ],
        }
        for i, (t, length, kwh, n) in enumerate(STAYS)
    ]
    return json.dumps({"_meta": {"min_kWh": None}, "_items": items})


def elaad() -> str:
    """As ElaadNL's open transactions: semicolons, decimal commas, day first."""
    header = (
        "TransactionId;ChargePoint;Connector;UTCTransactionStart;UTCTransactionStop;StartCard;ConnectedTime;ChargeTime;"
        "TotalEnergy;MaxPower"
    )
    rows = [
        [str(i), f"CP{n}", "1", f"{t:%d-%m-%Y %H:%M}", f"{t + length:%d-%m-%Y %H:%M}", f"C{n}",
         comma(length / timedelta(hours=1), 2), "1,50", comma(kwh, 2), "11,00"]
        for i, (t, length, kwh, n) in enumerate(STAYS)
    ]  # fmt: skip
    return table(header, rows)


def german() -> str:
    """As a back end's list for accounting, local times."""
    rows = [
        [
            str(i),
            f"{t.astimezone(VIENNA):%d.%m.%Y %H:%M}",
            f"{(t + length).astimezone(VIENNA):%d.%m.%Y %H:%M}",
            comma(kwh, 3),
            f"LP {n}",
        ]
        for i, (t, length, kwh, n) in enumerate(STAYS)
    ]
    return "Abrechnung Mai 2024\n\n" + table("Nr;Beginn;Ende;Energie in kWh;Ladepunkt", rows)


def read(tmp_path: Path, text: str, **said: object) -> ImportedSessions:
    file = tmp_path / "own.csv"
    file.write_text(text, encoding="utf-8")
    found = read_file(file, Kind.SESSIONS, VIENNA, Options(**said))  # type: ignore[arg-type]
    assert isinstance(found, ImportedSessions)
    return found


@pytest.mark.parametrize(
    ("text", "shape"),
    [(ocpp(), "ocpp-transactions"), (acn(), "acn-data"), (elaad(), "elaad"), (german(), "sessions-table")],
    ids=["ocpp", "acn", "elaad", "german"],
)
def test_times_and_energies_of_every_shape_are_those_of_the_file(tmp_path: Path, text: str, shape: str) -> None:
    found = read(tmp_path, text)
    assert found.shape == shape
    assert [(s.arrival, s.departure) for s in found.sessions] == [(t, t + length) for t, length, _, _ in STAYS]
    assert [s.energy_kwh for s in found.sessions] == pytest.approx([kwh for _, _, kwh, _ in STAYS])
    assert len({s.charge_point for s in found.sessions}) == 4
    assert found.notes.repaired == []


def test_of_what_drivers_announced_the_last_counts_if_it_is_after_the_arrival(tmp_path: Path) -> None:
    found = read(tmp_path, acn())
    assert {(s.announced_departure or s.arrival) - s.arrival for s in found.sessions} == {timedelta(hours=3)}


def test_cards_are_numbered_and_not_kept(tmp_path: Path) -> None:
    found = read(tmp_path, ocpp())
    assert {s.vehicle for s in found.sessions} == {"car1", "car2", "car3", "car4"}


def test_the_soc_that_is_assumed_gives_the_energy_of_the_meter(tmp_path: Path) -> None:
    """Into the battery goes 90 % of what the meter counts: 0.9 × kWh = (target − arrival) × capacity."""
    found = read(tmp_path, ocpp(), capacity_kwh=20.0, target_soc_frac=0.9)
    there = placed(found.sessions, ["a", "b", "c", "d"], found.notes)
    rows = rows_of(there, {}, Options(capacity_kwh=20.0, target_soc_frac=0.9), found.notes)
    into = [(float(str(row[7])) - float(str(row[6]))) * float(str(row[5])) for row in rows]
    assert sum(into) == pytest.approx(0.9 * KWH, rel=1e-5)
    assert min(float(str(row[6])) for row in rows) >= 0.05 - 1e-6
    # 0.9 × 19 kWh and more is beyond 0.85 of 20 kWh.
    enlarged = sum(0.9 * kwh > 0.85 * 20 for _, _, kwh, _ in STAYS)
    assert enlarged == 3
    assert sum(float(str(row[5])) > 20 for row in rows) == enlarged
    assert any(line.startswith("3 sessions took more than that") for line in found.notes.assumed)


def test_the_site_has_the_sessions_and_runs(tmp_path: Path) -> None:
    write_template(tmp_path / "mysite")
    found = read(tmp_path, german())
    target = target_of(str(tmp_path / "mysite"), None, "sessions")
    files, _, numbers = target.put_sessions(found, Options(), None)
    site = load_site(tmp_path / "mysite")
    sessions = [s for d in site.devices.values() if isinstance(d, Charger) for s in d.sessions]
    assert [d.daily for d in site.devices.values() if isinstance(d, Charger)] == [(), ()]
    # Two of four a day find a charger: all others come while both are taken.
    assert numbers["sessions"] == len(sessions) == 10
    assert "10 sessions with" in "; ".join(found.notes.repaired)
    assert [file.name for file in files] == ["sessions.csv", "sessions.import.json", "sessions.png"]
    assert site.date == datetime(2024, 5, 17).date()


@pytest.mark.parametrize(
    ("change", "repair", "left"),
    [
        (lambda text: text + "\n", "", 20),
        (lambda text: text + text.splitlines()[-1] + "\n", "1 rows repeat a session", 20),
        (lambda text: text + "99,BOX0,1,T,2024-05-25T08:00:00Z,5,,,\n", "1 sessions without begin or end", 20),
        (
            lambda text: text + "99,BOX0,1,T,2024-05-25T08:00:00Z,5,2024-05-25T07:00:00Z,99,\n",
            "end before they begin",
            20,
        ),
        (lambda text: text + "99,BOX0,1,T,2024-05-25T08:00:00Z,5,2024-05-25T09:00:00Z,5,\n", "have no energy", 20),
        (lambda text: text + "99,BOX0,1,T,2024-05-25T08:00:00Z,5,2024-06-25T09:00:00Z,99,\n", "longer than a week", 20),
        # BOX0-1 is taken until 10:30 of that Friday.
        (lambda text: text + "99,BOX0,1,T,2024-05-17T08:00:00Z,5,2024-05-17T09:00:00Z,99,\n", "they end then", 21),
    ],
    ids=["whole", "twice", "open", "backwards", "empty", "endless", "overlapping"],
)
def test_faulty_sessions_are_repaired_and_named(
    tmp_path: Path, change: Callable[[str], str], repair: str, left: int
) -> None:
    found = read(tmp_path, change(ocpp()))
    assert len(found.sessions) == left
    assert repair in "; ".join(found.notes.repaired)
    assert bool(repair) == bool(found.notes.repaired)


@pytest.mark.parametrize(
    ("text", "code", "named"),
    [
        ("start;energy kWh\n13.05.2024 08:00;5\n", Code.MISSING, ("named as end", "1 'start'")),
        ("start;end;energy\n13.05.2024 08:00;13.05.2024 09:00;5\n", Code.MISSING, ("--unit",)),
        ("start;end;kWh\n13.05.2024 08:00;13.05.2024 09:00;0\n", Code.EMPTY, ("no session",)),
        (
            '{"_items": [{"connectionTime": "yesterday", "kWhDelivered": 1, "disconnectTime": ""}]}',
            Code.FORMAT,
            ("item 0",),
        ),
        ('{"connectionTime": 1, "kWhDelivered": 1', Code.FORMAT, ("no JSON",)),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path: Path, text: str, code: Code, named: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert caught.value.code is code
    assert [part for part in named if part not in str(caught.value)] == []
