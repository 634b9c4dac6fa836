"""Writes profiles.csv, a made-up winter day by the formulas of ``sites/data/DATA.md``. Run it in this folder."""

import csv
import math
from pathlib import Path


def row(hour: float) -> dict[str, float]:
    """Values of the quarter-hour that begins at ``hour`` of the local day, at its middle."""
    t = hour + 0.125
    day = 6 <= hour < 22
    working = 8 <= hour < 18
    temp = -1.0 + 4.0 * math.cos(2 * math.pi * (t - 15) / 24)
    heat = max(0.0, 0.8 * ((20.0 if day else 17.0) - temp) - (2.0 if working else 0.0))
    load = 2.0 + 4.5 / (1 + math.exp(-2.5 * (t - 7.5))) / (1 + math.exp(1.5 * (t - 18.5)))
    price = 0.09 + 0.05 * math.exp(-(((t - 8.5) / 1.8) ** 2)) + 0.09 * math.exp(-(((t - 19) / 2.0) ** 2))
    price -= 0.02 * math.exp(-(((t - 13.5) / 2.0) ** 2))
    return {
        "temp_outdoor_c": round(temp, 2),
        "heat_demand_kw": round(heat, 2),
        "load_kw": round(load, 2),
        "price_eur_per_kwh": round(price, 4),
    }


if __name__ == "__main__":
    with Path("profiles.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [row(i / 4) for i in range(96)]
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
