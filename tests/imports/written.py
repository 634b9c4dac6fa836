"""Files as other programs write them, from known powers. What the importer reads back is compared with these."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class Powers:
    """Mean powers [kW] of equal steps from a local midnight on."""

    start: datetime
    step: timedelta
    kw: tuple[float, ...]

    @property
    def times(self) -> list[datetime]:
        return [self.start + n * self.step for n in range(len(self.kw))]

    @property
    def kwh(self) -> list[float]:
        return [power * (self.step / timedelta(hours=1)) for power in self.kw]

    @property
    def energy_kwh(self) -> float:
        return sum(self.kwh)


def days(first: date, count: int, step_min: int, zone: ZoneInfo, of_step: Sequence[float]) -> Powers:
    """Whole local days; the values repeat."""
    start = datetime(first.year, first.month, first.day, tzinfo=zone).astimezone(UTC)
    last = first + timedelta(days=count)
    end = datetime(last.year, last.month, last.day, tzinfo=zone).astimezone(UTC)
    step = timedelta(minutes=step_min)
    return Powers(start, step, tuple(of_step[n % len(of_step)] for n in range((end - start) // step)))


def comma(value: float, digits: int = 6) -> str:
    return f"{value:.{digits}f}".replace(".", ",")


def ends(powers: Powers, zone: ZoneInfo, *, by_clock: bool) -> list[datetime]:
    """Ends of the intervals: as the clock shows them then, or as the start that it shows and a step."""
    if by_clock:
        return [(time + powers.step).astimezone(zone).replace(tzinfo=None) for time in powers.times]
    return [time.astimezone(zone).replace(tzinfo=None) + powers.step for time in powers.times]


def table(header: str, rows: Sequence[Sequence[str]], separator: str = ";") -> str:
    return "\n".join((header, *(separator.join(row) for row in rows))) + "\n"


def wide(powers: Powers, zone: ZoneInfo) -> str:
    """A row for each day, a column for each quarter-hour, those of 02:00 twice for the end of summer time."""
    clocks = [f"{minute // 60:02d}:{minute % 60:02d}" for minute in range(0, 1440, 15)]
    heads = [*clocks[:12], *clocks[8:12], *clocks[12:]]
    by_day: dict[date, dict[tuple[str, int], float]] = {}
    for time, kwh in zip(powers.times, powers.kwh, strict=True):
        local = time.astimezone(zone)
        by_day.setdefault(local.date(), {})[f"{local:%H:%M}", local.fold] = kwh
    rows = []
    for day, found in by_day.items():
        fold = [0] * 12 + [1] * 4 + [0] * (len(heads) - 16)
        rows.append(
            [f"{day:%d/%m/%Y}", *(
                comma(found[key]) if (key := (clock, one)) in found else ""
                for clock, one in zip(heads, fold, strict=True)
            )]
        )  # fmt: skip
    return table(";".join(("Giorno", *heads)), rows)
