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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from dii.telemetry.airtime import MAC_OVERHEAD, time_on_air
from dii.telemetry.fields import payload_hash
from dii.telemetry.synthetic._network import Region, network
from dii.telemetry.synthetic._traffic import generator, populate
from dii.telemetry.tables import SCHEMAS
from dii.units import DAY, SECOND, format_time

START: Final = 1_740_960_000 * SECOND
"""2025-03-03T00:00:00Z, a Monday."""
_REGION: Final = (Region("nl", 1, 51.96, 4.30, 52.07, 4.48),)
_ACTIVE, _TOP = 0.75, 0.74
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
_PLACEHOLDERS: Final = ((10.0, 20.0), (0.0, 0.0))
_ROLES: Final = ("out", "deaf", "forwarded", "twice", "adrift")

_Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sample:
    """What the files of a sample say.

    Attributes
    ----------
    registry, receptions, statuses
        Tables as ``schema`` says; receptions of hidden gateways name none.
    roles
        Ids of the gateways that are ``out`` for two days; ``deaf`` after two days; ``forwarded``
        by Packet Broker, which names them; listed ``twice``; ``adrift``: the clock says 1970.
    """

    registry: pa.Table
    receptions: pa.Table
    statuses: pa.Table
    roles: Mapping[str, str]


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
    operator = {row["gateway"]: row["operator"] for row in registry.to_pylist()}
    roles = dict(zip(_ROLES, (name for name in active if operator[name] and ":" not in name)))
    # Each gateway answers within the last three minutes of a poll, so that its last answer of a
    # day falls into the day's last slot.
    early = {
        name: int(1 + 170 * part) * SECOND for name, part in zip(active, rng.random(len(active)))
    }

    def poll(row: _Row) -> int:
        return int(row["time"] - START + early[row["gateway"]]) // _POLL

    silent = {roles["out"]: _OUT, roles["deaf"]: range(_DEAF_FROM, days * DAY // _POLL + 1)}
    heard = [row for row in heard if poll(row) not in silent.get(row["gateway"], ())]
    frames = Counter((row["gateway"], poll(row)) for row in heard)
    statuses: list[_Row] = []
    for number in range(days * DAY // _POLL):
        for name, foreign in zip(active, rng.random(len(active))):
            if name == roles["out"] and number in _OUT:
                continue
            time = START + (number + 1) * _POLL - early[name]
            covers = min(_POLL, time - START)  # nothing before the sample begins
            heard_all = 0 if number in silent.get(name, ()) else int(9 * foreign**2)
            # The quietest gateway does not say how much it hears.
            count = None if name == active[-1] else heard_all + frames[name, number]
            statuses.append({"time": time, "gateway": name, "covers": covers, "frames": count})
    statuses.sort(key=lambda row: (row["time"], row["gateway"]))
    for row, hidden, delay in zip(heard, rng.random(len(heard)), rng.random(len(heard))):
        row["payload_hash"] = payload_hash(_payload(row))
        if row["gateway"] == roles["adrift"]:
            row["gateway_time"] = row["time"] - START + 9 * DAY
        elif active.index(row["gateway"]) % 3 == 0:
            row["gateway_time"] = row["time"] - int((0.1 + 0.1 * delay) * SECOND)
        if hidden < _HIDDEN and row["gateway"] != roles["forwarded"]:
            row["gateway"] = None
    seen = {row["gateway"]: row["time"] for row in statuses}
    rows = registry.to_pylist()
    for row in rows:
        if row["last_seen"] is not None:  # the quiet ones were seen before the sample begins
            row["last_seen"] = seen.get(row["gateway"], row["last_seen"] - days * DAY)
    return Sample(
        pa.Table.from_pylist(rows, SCHEMAS["gateways"]),
        pa.Table.from_pylist(heard, SCHEMAS["receptions"]),
        pa.Table.from_pylist(statuses, SCHEMAS["statuses"]),
        roles,
    )


def _payload(row: _Row) -> bytes:
    return hashlib.sha512(f"{row['device']} {row['f_cnt']}".encode()).digest()[: row["size"]]


def _registered_id(gateway: str) -> str:
    """Return a gateway's id as its network has it: ``eui-…``, or the name."""
    return gateway.removeprefix("ttn:") if ":" in gateway else f"eui-{gateway.lower()}"


def _registry(content: Sample) -> str:
    """Return the registry as The Things Network's ``gateway-data``: records by id."""
    records: dict[str, _Row] = {}
    placeholders = list(_PLACEHOLDERS)
    for row in content.registry.to_pylist():
        name, owner, seen = _registered_id(row["gateway"]), row["operator"], row["last_seen"]
        place = {key: row[key] for key in ("latitude", "longitude", "altitude")}
        if place["latitude"] is None:
            place = dict(zip(place, placeholders.pop())) if placeholders else {}
        record = {
            "id": name,
            "owner": owner,
            "owners": owner and [owner],
            "location": place,
            "country_code": row["country"],
            "attributes": row["placement"] and {"placement": row["placement"]},
            "last_seen": seen and format_time(seen),
        }
        records[name] = {key: value for key, value in record.items() if value}
    bare = content.roles["twice"].lower()
    records[bare] = {"id": bare, "last_seen": format_time(START - DAY)}
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
    size = MAC_OVERHEAD + first["size"]
    factor = next(sf for sf in range(7, 13) if time_on_air(size, sf) == first["airtime"])
    message = {
        "f_port": 1,
        "f_cnt": first["f_cnt"],
        "frm_payload": base64.b64encode(_payload(first)).decode(),
        "rx_metadata": metadata,
        "settings": {
            "data_rate": {"lora": {"bandwidth": 125_000, "spreading_factor": factor}},
            "coding_rate": "4/5",
            "frequency": str(_CHANNELS[int(len(_CHANNELS) * rng.random())]),
        },
        "received_at": _stamp(first["time"], int(1_000 * rng.random())),
    }
    if rng.random() < _AIRTIME_STATED:
        message["consumed_airtime"] = "{}.{:06d}s".format(*divmod(first["airtime"], SECOND))
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


def _uplinks(content: Sample, rng: np.random.Generator) -> Iterator[str]:
    """Yield lines of JSON in the order of time, with simulated and damaged ones among them."""
    rows = content.receptions.to_pylist()
    frames = [list(rows) for _, rows in groupby(rows, lambda row: (row["time"], row["device"]))]
    places = [len(frames) * part // 7 for part in range(1, 7)]
    for number, frame in enumerate(frames):
        uplink = _uplink(frame, rng, content.roles["forwarded"])
        yield json.dumps(uplink, separators=(",", ":"))
        if number in places:
            yield _accident(uplink, places.index(number))


def _accident(uplink: _Row, number: int) -> str:
    """Return a line that is simulated, cut off, of no time, simulated, of wrong type, or no JSON."""
    message = uplink["uplink_message"]
    test = {"gateway_ids": {"gateway_id": "test"}, "rssi": 42, "snr": 4.2}
    if number in {0, 3}:
        uplink |= {"simulated": True, "uplink_message": message | {"rx_metadata": [test]}}
    elif number == 2:
        late = {"received_at": "yesterday"}
        uplink |= late | {"uplink_message": message | late}
    elif number == 4:
        uplink |= {"uplink_message": message | {"f_cnt": "many"}}
    elif number == 5:
        return "connection reset by peer"
    return json.dumps(uplink)[: 300 if number == 1 else None]


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
        ("registry.json", _registry(content)),
        ("uplinks.jsonl", "\n".join(_uplinks(content, rng)) + "\n"),
        ("statuses.csv", "\n".join(statuses) + "\n"),
    ):
        (folder / name).write_bytes(text.encode())
