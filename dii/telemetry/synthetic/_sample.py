"""The sample in ``data/``: a small network around Delft, in the formats that networks give.

The problem: a newcomer needs input that is small, free to ship, and as awkward as the real thing.

The design: a registry and its traffic as in a simulation, then the accidents of real networks,
each once or a few times: a gateway that is out for two days, one that answers but hears nothing,
one registered under two names, places that are placeholders, frames that come through Packet
Broker with and without their gateway's name, simulated frames, damaged lines. The files say what
:class:`Sample` holds in tables and nothing else, so that a reader can be tested against it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from dii.telemetry.airtime import MAC_OVERHEAD, time_on_air
from dii.telemetry.synthetic._network import Region, network
from dii.telemetry.synthetic._traffic import generator, populate
from dii.telemetry.tables import SCHEMAS
from dii.units import DAY, SECOND, format_time

START: Final = 1_740_960_000 * SECOND
"""2025-03-03T00:00:00Z, a Monday."""
_REGION: Final = (Region("nl", 1, 51.95, 4.28, 52.09, 4.50),)
_ACTIVE, _TOP = 0.72, 0.72
"""Most gateways carry traffic, but none much: the files have to stay small."""
_POLL: Final = 3 * 3_600 * SECOND
"""The interval that a status covers."""
_OUT: Final = range(20, 35)
"""Polls (of 8 a day) that the gateway that is out does not answer."""
_DEAF_FROM: Final = 15
"""The first poll at which the deaf gateway has heard nothing."""
_STREAM = 4
"""Stream of random numbers below the seed."""
_HIDDEN, _REPEATED, _AIRTIME_STATED = 0.03, 0.04, 0.7
"""Shares of receptions whose gateway Packet Broker hides, of those that it brings a second time,
and of uplinks whose airtime the server states."""
_CHANNELS: Final = (868_100_000, 868_300_000, 868_500_000, 867_100_000, 867_300_000, 867_500_000)
_MODELS: Final = (("Kerlink", "iBTS"), ("RAKwireless", "RAK7258"), ("The Things Industries", None))
_PLACEHOLDERS: Final = ((10.0, 20.0), (0.0, 0.0))

_Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """What the files of a sample say.

    Attributes
    ----------
    registry, receptions, statuses
        Tables as ``schema`` says; receptions of hidden gateways name none.
    out, deaf, forwarded, twice, adrift
        The gateway that is out for two days; that hears nothing after two days; whose frames come
        through Packet Broker, which names it; that the registry lists twice; whose clock says 1970.
    """

    registry: pa.Table
    receptions: pa.Table
    statuses: pa.Table
    out: str
    deaf: str
    forwarded: str
    twice: str
    adrift: str


def sample(seed: int = 7, gateways: int = 48, days: int = 8) -> Sample:
    """Generate what :func:`write_sample` writes."""
    rng = generator(seed, _STREAM)
    end = START + days * DAY
    registry = network(gateways, seed, regions=_REGION, snapshot=end - 60 * SECOND)
    population = populate(registry, seed, _ACTIVE, _TOP)
    heard: list[_Row] = []
    for day in range(days):
        heard += population.day(START + day * DAY).to_pylist()

    # Roles go to gateways in the order of their traffic, so that each role shows.
    busy = Counter(row["gateway"] for row in heard)
    active = sorted(busy, key=lambda gateway: (-busy[gateway], gateway))
    out, deaf, forwarded, twice, adrift = [name for name in active if ":" not in name][:5]
    # Each gateway answers within the last three minutes of a poll, so that its last answer of a
    # day falls into the day's last slot.
    early = {name: int(170 * part) * SECOND for name, part in zip(active, rng.random(len(active)))}

    def poll(name: str, time: int) -> int:
        return (time - START + early[name]) // _POLL

    def reached(name: str, time: int) -> bool:
        silent = poll(name, time) in _OUT if name == out else poll(name, time) >= _DEAF_FROM
        return not (silent and name in {out, deaf})

    heard = [row for row in heard if reached(row["gateway"], row["time"])]
    statuses = _statuses(rng, heard, active, early, days, out, deaf)
    for row, hidden, delay in zip(heard, rng.random(len(heard)), rng.random(len(heard))):
        payload = _payload(row)
        digest = hashlib.sha256(payload).digest()
        row["payload_hash"] = int.from_bytes(digest[:8], "big", signed=True)
        if row["gateway"] == adrift:
            row["gateway_time"] = row["time"] - START + 9 * DAY
        elif active.index(row["gateway"]) % 3 == 0:
            row["gateway_time"] = row["time"] - int((0.1 + 0.1 * delay) * SECOND)
        if hidden < _HIDDEN and row["gateway"] != forwarded:
            row["gateway"] = None
    seen = {row["gateway"]: row["time"] for row in statuses}
    rows = registry.to_pylist()
    for row in rows:
        if row["last_seen"] is not None:  # the quiet ones were seen before the sample begins
            row["last_seen"] = seen.get(row["gateway"], row["last_seen"] - days * DAY)
            row["last_seen"] -= row["last_seen"] % SECOND
    return Sample(
        registry=pa.Table.from_pylist(rows, SCHEMAS["gateways"]),
        receptions=pa.Table.from_pylist(heard, SCHEMAS["receptions"]),
        statuses=pa.Table.from_pylist(statuses, SCHEMAS["statuses"]),
        out=out,
        deaf=deaf,
        forwarded=forwarded,
        twice=twice,
        adrift=adrift,
    )


def _statuses(
    rng: np.random.Generator,
    heard: list[_Row],
    active: list[str],
    early: dict[str, int],
    days: int,
    out: str,
    deaf: str,
) -> list[_Row]:
    """Return a status a poll of each gateway; the last of them does not count frames."""
    own = Counter(
        (row["gateway"], (row["time"] - START + early[row["gateway"]]) // _POLL) for row in heard
    )
    rows: list[_Row] = []
    for number in range(days * DAY // _POLL):
        for name, foreign in zip(active, rng.random(len(active))):
            if name == out and number in _OUT:
                continue
            time = START + (number + 1) * _POLL - early[name] - 1
            frames = own[name, number] + int(9 * foreign**2)
            if name == deaf and number >= _DEAF_FROM:
                frames = 0
            rows.append(
                {
                    "time": time,
                    "gateway": name,
                    "covers": min(_POLL, time - START),  # nothing before the sample begins
                    "frames": None if name == active[-1] else frames,
                }
            )
    return sorted(rows, key=lambda row: (row["time"], row["gateway"]))


def _payload(row: _Row) -> bytes:
    return hashlib.sha512(f"{row['device']} {row['f_cnt']}".encode()).digest()[: row["size"]]


def _registered_id(gateway: str) -> str:
    """Return a gateway's id as its network has it: ``eui-…``, or the name."""
    return gateway.removeprefix("ttn:") if ":" in gateway else f"eui-{gateway.lower()}"


def _registry(content: Sample, rng: np.random.Generator) -> str:
    """Return the registry as The Things Network's ``gateway-data``: records by id."""
    records: dict[str, _Row] = {}
    placeholders = list(_PLACEHOLDERS)
    for row, model in zip(content.registry.to_pylist(), rng.random(content.registry.num_rows)):
        name = _registered_id(row["gateway"])
        place = {key: row[key] for key in ("latitude", "longitude", "altitude")}
        brand, number = _MODELS[int(model * len(_MODELS))]
        attributes = {"brand": brand, "model": number, "placement": row["placement"]}
        if place["latitude"] is None:
            place = dict(zip(place, placeholders.pop())) if placeholders else {}
        seen = row["last_seen"] and format_time(row["last_seen"])
        record = {
            "id": name,
            "owner": row["operator"],
            "owners": row["operator"] and [row["operator"]],
            "location": place,
            "country_code": row["country"],
            "attributes": {key: value for key, value in attributes.items() if value},
            "last_seen": seen,
        }
        records[name] = {key: value for key, value in record.items() if value}
        if row["gateway"] == content.twice:
            again = {"id": row["gateway"].lower(), "last_seen": format_time(START - DAY)}
            records[again["id"]] = again
    lines = (f"{json.dumps(key)}: {json.dumps(records[key])}" for key in sorted(records))
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _stamp(time: int, nanos: int = 0) -> str:
    """Return a time as The Things Stack writes it, to the nanosecond."""
    return f"{format_time(time)[:-1]}.{time % SECOND:06d}{nanos:03d}Z"


def _uplink(rows: list[_Row], rng: np.random.Generator, forwarded: str) -> _Row:
    """Return the receptions of one frame as an uplink message of The Things Stack v3."""
    first, eui = rows[0], rows[0]["device"]
    metadata: list[_Row] = []
    for row in sorted(rows, key=lambda row: (-row["rssi"], row["gateway"] or "")):
        name = row["gateway"]
        radio: _Row = {"rssi": int(row["rssi"]), "snr": row["snr"]}
        if row["gateway_time"] is not None:
            radio = {"time": _stamp(row["gateway_time"])} | radio
        broker: _Row = {"forwarder_net_id": "000013", "forwarder_tenant_id": "ttnv2"}
        brokered = {"gateway_ids": {"gateway_id": "packetbroker"}, "packet_broker": broker} | radio
        if name == forwarded:
            broker |= {"forwarder_gateway_eui": name, "forwarder_gateway_id": _registered_id(name)}
        elif name is not None:
            ids = {"gateway_id": _registered_id(name)} | ({} if ":" in name else {"eui": name})
            metadata.append({"gateway_ids": ids} | radio)
            if row["gateway_time"] is None or rng.random() >= _REPEATED:
                continue
        metadata.append(brokered)
    message = {
        "f_port": 1,
        "f_cnt": first["f_cnt"],
        "frm_payload": base64.b64encode(_payload(first)).decode(),
        "rx_metadata": metadata,
        "settings": {
            "data_rate": {
                "lora": {"bandwidth": 125_000, "spreading_factor": _spreading_factor(first)}
            },
            "coding_rate": "4/5",
            "frequency": str(_CHANNELS[int(len(_CHANNELS) * rng.random())]),
        },
        "received_at": _stamp(first["time"], int(1_000 * rng.random())),
    }
    if rng.random() < _AIRTIME_STATED:
        message["consumed_airtime"] = (
            f"{first['airtime'] // SECOND}.{first['airtime'] % SECOND:06d}s"
        )
    return {
        "end_device_ids": {
            "device_id": f"eui-{eui.lower()}",
            "application_ids": {"application_id": first["application"]},
            "dev_eui": eui,
            "dev_addr": f"260B{eui[-4:]}",
        },
        "received_at": _stamp(first["time"] + SECOND // 5, int(1_000 * rng.random())),
        "uplink_message": message,
    }


def _spreading_factor(row: _Row) -> int:
    size = MAC_OVERHEAD + row["size"]
    return next(sf for sf in range(7, 13) if time_on_air(size, sf) == row["airtime"])


def _uplinks(content: Sample, rng: np.random.Generator) -> Iterator[str]:
    """Yield lines of JSON in the order of time, with simulated and damaged ones among them."""
    rows = content.receptions.to_pylist()
    frames = [
        list(frame) for _, frame in groupby(rows, key=lambda row: (row["time"], row["device"]))
    ]
    accidents = dict(zip((len(frames) * k // 7 for k in range(1, 7)), _ACCIDENTS))
    for number, frame in enumerate(frames):
        uplink = _uplink(frame, rng, content.forwarded)
        yield json.dumps(uplink, separators=(",", ":"))
        if number in accidents:
            yield accidents[number](uplink)


def _simulated(uplink: _Row) -> str:
    metadata = [{"gateway_ids": {"gateway_id": "test"}, "rssi": 42, "snr": 4.2}]
    message = uplink["uplink_message"] | {"rx_metadata": metadata}
    return json.dumps(uplink | {"simulated": True, "uplink_message": message})


def _cut_off(uplink: _Row) -> str:
    return json.dumps(uplink)[:300]


def _without_time(uplink: _Row) -> str:
    message = uplink["uplink_message"] | {"received_at": "yesterday"}
    return json.dumps(uplink | {"received_at": "yesterday", "uplink_message": message})


def _wrong_type(uplink: _Row) -> str:
    message = uplink["uplink_message"] | {"f_cnt": "many"}
    return json.dumps(uplink | {"uplink_message": message})


def _no_json(_: _Row) -> str:
    return "connection reset by peer"


_ACCIDENTS: Final = (_simulated, _cut_off, _without_time, _simulated, _wrong_type, _no_json)


def write_sample(folder: Path, seed: int = 7, gateways: int = 48, days: int = 8) -> None:
    """Write ``registry.json``, ``uplinks.jsonl`` and ``statuses.csv``.

    Parameters
    ----------
    folder
        Where to; made if it is not there.
    seed, gateways, days
        The same give the same bytes.
    """
    content = sample(seed, gateways, days)
    rng = generator(seed, _STREAM, 1)
    folder.mkdir(parents=True, exist_ok=True)
    statuses = ["gateway,time,covers,frames"]
    for row in content.statuses.to_pylist():
        frames = "" if row["frames"] is None else row["frames"]
        statuses.append(f"{row['gateway']},{row['time']},{row['covers']},{frames}")
    for name, text in (
        ("registry.json", _registry(content, rng)),
        ("uplinks.jsonl", "\n".join(_uplinks(content, rng)) + "\n"),
        ("statuses.csv", "\n".join(statuses) + "\n"),
    ):
        (folder / name).write_bytes(text.encode())
