"""The cloud of a site's cases in numbers: when, how deep, and how much of the day's energy it takes."""

import math
from dataclasses import dataclass

from schemas.site import DayProfile, PowerProfile, Pv
from services.analysis.summary import number
from sites.description import SiteDescription


@dataclass(frozen=True, slots=True)
class Cloud:
    """PV power against that of the forecast, where a case has less of it."""

    cases: tuple[str, ...]
    begins: tuple[str, ...]
    """Local times of the profile's steps under the cloud."""
    step_min: float
    depths_frac: tuple[float, ...]
    """Part of the clear sky's power that is missing, by step."""
    lost_kwh: float
    day_kwh: float
    """Energy of the clear day."""

    @property
    def minutes(self) -> float:
        return self.step_min * len(self.depths_frac)

    def sentence(self) -> str:
        """For the report, in plain words."""
        deep = [f"{number(-100 * depth, 0)} %" for depth in self.depths_frac]
        shown = f"{', '.join(deep)} by step" if len(deep) <= 4 else f"{deep[0]} at its start, {_deepest(self)} at most"
        return (
            f"The cloud (cases {', '.join(self.cases)}) lasts {number(self.minutes, 0)} minutes from {self.begins[0]} "
            f"({shown}) and takes {number(self.lost_kwh, 1)} of the day's {number(self.day_kwh, 0)} kWh of PV, "
            f"{number(100 * self.lost_kwh / self.day_kwh, 1)} %."
        )


def _deepest(cloud: Cloud) -> str:
    return f"{number(-100 * max(cloud.depths_frac), 0)} %"


def cloud_of(site: SiteDescription) -> Cloud | None:
    """The cloud of the site's cases; None unless all of them share one, given as a typical day beside the forecast."""
    found: dict[str, list[str]] = {}
    forecasts: dict[str, str] = {}
    for name, case in site.cases.items():
        for device_name, source in case.pv.items():
            device = site.devices.get(device_name)
            if (
                isinstance(device, Pv)
                and isinstance(device.forecast, PowerProfile)
                and isinstance(source, PowerProfile)
            ):
                found.setdefault(source.profile, []).append(name)
                forecasts[source.profile] = device.forecast.profile
    if len(found) != 1:
        return None
    ((clouded, cases),) = found.items()
    clear, cloud = site.profiles[forecasts[clouded]], site.profiles[clouded]
    if not isinstance(clear, DayProfile) or not isinstance(cloud, DayProfile) or clear.step_s != cloud.step_s:
        return None
    under = [i for i, (a, b) in enumerate(zip(clear.values, cloud.values, strict=True)) if b < a]
    if not under:
        return None
    hours = clear.step_s / 3600
    return Cloud(
        cases=tuple(sorted(cases)),
        begins=tuple(f"{int(i * hours):02d}:{round(i * hours * 60) % 60:02d}" for i in under),
        step_min=clear.step_s / 60,
        depths_frac=tuple(1 - cloud.values[i] / clear.values[i] for i in under),
        lost_kwh=math.fsum(clear.values[i] - cloud.values[i] for i in under) * hours,
        day_kwh=math.fsum(clear.values) * hours,
    )
