"""Generated figures beside published ones: ``python -m tests.calibration`` prints the table.

Figures of The Things Network bind: counts within 10 %, shares within 3 points, at any seed. Proxies
come from other networks and show how far the model is from those; the radio of a single gateway
says nothing about others, so its rows are only shown, too. Formulas must hold exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from dii.telemetry import synthetic
from dii.telemetry.metrics.airtime import MAC_OVERHEAD, time_on_air
from dii.telemetry.synthetic._network import (
    INDOOR,
    MEDIAN_KM,
    OUTDOOR,
    OWNERS,
    PUBLISHED,
    UNKNOWN_COUNTRY,
    WORLD,
)
from dii.telemetry.synthetic._traffic import (
    BUSIEST,
    FAIR_USE,
    QUANTILES,
    Floats,
    Population,
    nearest,
)
from dii.units import DAY, SECOND

_REGISTRY: Final = "gateway-data, 20 April 2018 (github Danny-Engelman/ITpings)"
_HELIUM: Final = "60,240 hotspots, a day of February 2022 (github tomtobback/helium-data-traffic)"
_CAMPUS: Final = "Grenoble (github CampusIoT/datasets)"
_GOUDA: Final = "one gateway, 33 minutes, 6 January 2022 (github bertrik/ttn-gateway-collector)"
_FAIR: Final = "fair use policy of The Things Network"
_SEMTECH: Final = "SX1276 data sheet, section 4.1.1.7"

Kind = Literal["TTN", "TTN, n = 1", "proxy", "formula"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A published figure and the same measured on generated data.

    Attributes
    ----------
    name
        What is counted, with its unit.
    kind
        ``TTN``, ``TTN, n = 1`` where it is a single gateway, ``proxy`` where The Things Network
        published nothing, or ``formula``.
    source
        Who published it.
    unit
        A ``share`` is compared in points, a ``number`` relatively, and a ``limit`` is not exceeded.
    published, generated
        The two values; a published count is scaled to the size of the generated network.
    """

    name: str
    kind: Kind
    source: str
    unit: Literal["number", "share", "limit"]
    published: float
    generated: float

    @property
    def deviation(self) -> float:
        """Generated less published: of shares the difference, else the part of the published."""
        difference = self.generated - self.published
        return difference if self.unit == "share" else difference / self.published

    @property
    def bound(self) -> bool:
        """True if the figure must hold."""
        return self.kind in {"TTN", "formula"}

    @property
    def holds(self) -> bool:
        """Within 3 points for shares, 10 % for other numbers; formulas exactly."""
        if self.kind == "formula":
            return self.deviation == 0.0
        if self.unit == "limit":
            return self.deviation <= 0.0
        return abs(self.deviation) <= (0.03 if self.unit == "share" else 0.1)


def calibration(registry: pa.Table, population: Population | None = None) -> list[Figure]:
    """Compare a generated registry, and a day of its traffic, with published figures.

    Parameters
    ----------
    registry
        As ``schema.Gateway`` says, of the world.
    population
        The registry's devices; without them only the registry's figures are returned.
    """
    figures = list(_of_registry(registry.to_pandas()))
    if population is not None:
        start = (pc.max(registry["last_seen"]).as_py() // DAY + 1) * DAY
        figures += _of_traffic(population, population.day(start))
        figures += _FORMULAS
    return figures


def _of_registry(table: pd.DataFrame) -> Iterator[Figure]:
    scale = len(table) / PUBLISHED
    country, placement, owned = table["country"], table["placement"], table["operator"]
    age = (table["last_seen"].max() - table["last_seen"]) / SECOND
    live = age <= 3_600
    sizes = owned.value_counts().to_numpy()
    places = table.loc[live, ["latitude", "longitude"]].dropna().drop_duplicates().to_numpy()
    _, apart = nearest(places[:, 0], places[:, 1], 1)
    counts = {
        **{f"gateways in {r.country}": (r.gateways, country == r.country) for r in WORLD[:10]},
        "gateways without a country": (UNKNOWN_COUNTRY, country.isna()),
        "gateways indoors": (INDOOR, placement == "indoor"),
        "gateways outdoors": (OUTDOOR, placement == "outdoor"),
        "gateways of unknown placement": (PUBLISHED - INDOOR - OUTDOOR, placement.isna()),
    }
    for name, (said, found) in counts.items():
        yield Figure(name, "TTN", _REGISTRY, "number", scale * said, float(found.sum()))
    numbers = {
        "owners": (scale * OWNERS, len(sizes)),
        "gateways of the largest owner": (scale * 57, sizes[0]),
        "km to the nearest live gateway": (MEDIAN_KM, np.median(apart)),
    }
    for name, (value, measured) in numbers.items():
        yield Figure(name, "TTN", _REGISTRY, "number", value, float(measured))
    shares = {
        "seen within 60 s": (0.49, (age <= 60).mean()),
        "seen within 1 h": (0.52, (age <= 3_600).mean()),
        "seen within 1 day": (0.57, (age <= 86_400).mean()),
        "seen within 7 days": (0.67, (age <= 7 * 86_400).mean()),
        "seen within 30 days": (0.915, (age <= 30 * 86_400).mean()),
        "outdoors: seen within 5 min": (0.69, (age[placement == "outdoor"] <= 300).mean()),
        "indoors: seen within 5 min": (0.52, (age[placement == "indoor"] <= 300).mean()),
        "owners of one gateway": (0.77, (sizes == 1).mean()),
        "owners of at most three": (0.955, (sizes <= 3).mean()),
        "held by the top 10 % of owners": (0.32, sizes[: len(sizes) // 10].sum() / sizes.sum()),
        "gateways without owner": (0.225, owned.isna().mean()),
        "live gateways without owner": (0.095, owned[live].isna().mean()),
        "live gateways within 300 m of another": (0.14, (apart < 0.3).mean()),
    }
    for name, (share, part) in shares.items():
        yield Figure(name, "TTN", _REGISTRY, "share", share, float(part))


def _of_traffic(population: Population, day: pa.Table) -> Iterator[Figure]:
    device = pc.index_in(day["device"], population.devices).to_numpy()
    uplinks = pd.DataFrame({"device": device, "f_cnt": day["f_cnt"], "airtime": day["airtime"]})
    uplinks = uplinks.groupby(["device", "f_cnt"], as_index=False).agg(
        airtime=("airtime", "first"), gateways=("airtime", "size")
    )
    sent = uplinks.groupby("device")["airtime"].sum().max() / SECOND
    yield Figure(
        "s of airtime of a device, at most", "TTN", _FAIR, "limit", FAIR_USE / SECOND, sent
    )

    packets: Floats = day["gateway"].to_pandas().value_counts().to_numpy()
    for part, carried in (*QUANTILES, (1.0, BUSIEST)):
        name = f"packets per active gateway and day, p{100 * part:g}"
        found = float(np.quantile(packets, part))
        yield Figure(name, "proxy", _HELIUM, "number", carried, found)

    site = population.site[uplinks["device"]]
    beside = population.neighbours[population.home[uplinks["device"]]]
    hilltop = uplinks["gateways"][(site == 2) & (beside >= 10)]
    indoors = (uplinks["gateways"][site == 0] == 1).mean()
    mean, most = float(hilltop.mean()), float(hilltop.max())
    name = "gateways per uplink of a hilltop device amid ten others"
    yield Figure(name, "proxy", _CAMPUS, "number", 5.8, mean)
    yield Figure(f"{name}, at most", "proxy", _CAMPUS, "limit", 11.0, most)
    yield Figure("indoor uplinks heard by one", "proxy", _CAMPUS, "share", 0.86, float(indoors))

    rssi = float(np.median(day["rssi"].to_numpy()))
    yield Figure("RSSI in dBm, median", "TTN, n = 1", _GOUDA, "number", -120.0, rssi)
    size, airtime = day["size"].to_numpy(), day["airtime"].to_numpy()
    for factor, heard in ((7, 50), (11, 36), (12, 148)):
        of_size = np.array([time_on_air(MAC_OVERHEAD + k, factor) for k in range(size.max() + 1)])
        found = float((of_size[size] == airtime).mean())
        yield Figure(f"receptions at SF{factor}", "TTN, n = 1", _GOUDA, "share", heard / 271, found)


_FORMULAS: Final = tuple(
    Figure(f"µs on air: {what}", "formula", _SEMTECH, "number", said, found)
    for what, said, found in (
        ("13 B, SF12, not optimised", 1_155_072, time_on_air(13, 12, low_data_rate=False)),
        ("51 B, SF7", 102_656, time_on_air(51, 7)),
    )
)


if __name__ == "__main__":
    size = synthetic.SIZES["ttn2018"]
    network = synthetic.network(size.gateways, 7)
    figures = calibration(network, synthetic.populate(network, active=size.active, top=size.top))
    table = pd.DataFrame(figures).assign(
        deviation=[figure.deviation for figure in figures],
        holds=[figure.holds if figure.bound else "not bound" for figure in figures],
    )
    print(table.to_string(index=False, float_format="{:,.3f}".format))
