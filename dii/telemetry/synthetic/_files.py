"""Generated networks as files, in the formats that networks give.

The problem: a newcomer needs input that is small, free to ship, and as irregular as real input;
a test of scale needs the same for a network of The Things Network's size.

The design: what ``_records`` generates goes line by line into The Things Network's registry, The
Things Stack's uplinks and statuses, with frames among them that come through Packet Broker with
and without their gateway's name, simulated frames and damaged lines. Files contain exactly the
content of the tables, and damaged lines are counted, so that readers can be tested against both.
"""

from __future__ import annotations

import base64
import csv
import json
from collections import Counter
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from dii.telemetry.metrics.airtime import MAC_OVERHEAD, time_on_air
from dii.telemetry.synthetic import _records
from dii.telemetry.synthetic._traffic import Random, generator
from dii.units import DAY, SECOND, format_time

_REPEATED, _AIRTIME_STATED = 0.04, 0.7
"""Shares of named receptions that Packet Broker repeats, and of uplinks with a stated airtime."""
_CHANNELS: Final = (868_100_000, 868_300_000, 868_500_000, 867_100_000, 867_300_000, 867_500_000)
_PLACEHOLDERS: Final = ((10.0, 20.0), (0.0, 0.0))
_PLACEHOLDER_EACH: Final = 300
"""Gateways for each placeholder of each kind (37 of 5,803 in 2018)."""
_ACCIDENTS: Final = ("simulated", "bad_json", "bad_time", "simulated", "bad_field", "bad_json")
"""Reasons, in the words of readers, for which damaged lines are set aside."""
_ACCIDENTS_EACH: Final = 20_000
"""Number of uplinks for which all accidents happen once more."""
_BATCH: Final = 10_000
_STATUS: Final = ("gateway", "time", "covers", "frames")

_Row = dict[str, Any]


def write(
    folder: Path, size: _records.Size, seed: int = 7, days: int | None = None
) -> Counter[str]:
    """Generate a network and write its registry, uplinks and statuses.

    Parameters
    ----------
    folder
        Output folder; created if it does not exist.
    size, seed, days
        As in :func:`dii.telemetry.synthetic.generate`. Equal arguments give equal bytes.

    Returns
    -------
    Counter
        Number of written records that readers set aside, by their reason.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made, planted = _records.generate(size, seed, days), Counter[str]()
    _write(folder / "uplinks.jsonl", _uplinks(made, generator(seed, _records.STREAM, 1), planted))
    rows = zip(*(made.statuses[name].to_pylist() for name in _STATUS))
    with (folder / "statuses.csv").open("w", encoding="utf-8", newline="") as file:
        statuses = csv.writer(file, lineterminator="\n")
        statuses.writerow(_STATUS)
        statuses.writerows(rows)
    _write(folder / "registry.json", _registry(made, size.start - DAY, planted))
    return planted


def _write(path: Path, lines: Iterator[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)


# --- registry ----------------------------------------------------------------------------------


def _registered_id(gateway: str) -> str:
    """Return a gateway's id as its network has it: ``eui-…``, or the name."""
    return gateway.removeprefix("ttn:") if ":" in gateway else f"eui-{gateway.lower()}"


def _registry(made: _records.Generated, before: int, planted: Counter[str]) -> Iterator[str]:
    """Yield a registry as The Things Network's ``gateway-data``: records by id."""
    placeholders = [*_PLACEHOLDERS] * (len(made.registry) // _PLACEHOLDER_EACH or 1)
    records: dict[str, _Row] = {}
    for row in made.registry.to_pylist():
        name, owner, seen = _registered_id(row["gateway"]), row["operator"], row["last_seen"]
        place = {key: row[key] for key in ("latitude", "longitude", "altitude")}
        if place["latitude"] is None:
            place = {}
            if placeholders:
                place = dict(zip(("latitude", "longitude"), placeholders.pop()))
                planted["placeholder_coordinates"] += 1
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
        if row["gateway"] in made.roles["twice"]:
            bare = row["gateway"].lower()
            records[bare] = {"id": bare, "last_seen": format_time(before)}
            planted["duplicate_gateway"] += 1
    yield "{"
    last = max(records)
    for key in sorted(records):
        yield f"{json.dumps(key)}: {json.dumps(records[key])}" + ("," if key != last else "")
    yield "}"


# --- uplinks -----------------------------------------------------------------------------------


def _stamp(time: int, nanos: int = 0) -> str:
    """Return a time as The Things Stack writes it, to the nanosecond."""
    return f"{_second(time // SECOND)}.{time % SECOND:06d}{nanos:03d}Z"


@lru_cache(1_000)
def _second(time: int) -> str:
    return format_time(time * SECOND)[:-1]


@cache
def _spreading_factor(size: int, airtime: int) -> int:
    return next(sf for sf in range(7, 13) if time_on_air(MAC_OVERHEAD + size, sf) == airtime)


def _uplink(rows: list[_Row], rng: Random, forwarded: set[str], planted: Counter[str]) -> _Row:
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
        if name in forwarded:
            broker |= {"forwarder_gateway_eui": name, "forwarder_gateway_id": _registered_id(name)}
        elif name is not None:
            ids = {"gateway_id": _registered_id(name)} | ({} if ":" in name else {"eui": name})
            metadata.append({"gateway_ids": ids} | radio)
            if row["gateway_time"] is None or rng.random() >= _REPEATED:
                continue
            planted["same_reception"] += 1
        metadata.append(brokered)
    data = base64.b64encode(_records.payload(eui, first["f_cnt"], first["size"]))
    factor = _spreading_factor(first["size"], first["airtime"])
    message = {
        "f_port": 1,
        "f_cnt": first["f_cnt"],
        "frm_payload": data.decode(),
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


def _uplinks(made: _records.Generated, rng: Random, planted: Counter[str]) -> Iterator[str]:
    """Yield lines of JSON in the order of time, with simulated and damaged ones among them."""
    table = made.receptions
    frames = len(_records.frame_starts(table))
    accidents = len(_ACCIDENTS) * (1 + frames // _ACCIDENTS_EACH)
    places = {frames * part // (accidents + 1): part - 1 for part in range(1, accidents + 1)}
    rows = (row for batch in table.to_batches(max_chunksize=_BATCH) for row in batch.to_pylist())
    encode = json.JSONEncoder(separators=(",", ":")).encode
    forwarded = set(made.roles["forwarded"])
    for number, (_, frame) in enumerate(groupby(rows, lambda row: (row["time"], row["device"]))):
        uplink = _uplink(list(frame), rng, forwarded, planted)
        yield encode(uplink)
        if number in places:
            kind = places[number] % len(_ACCIDENTS)
            planted[_ACCIDENTS[kind]] += 1
            yield _accident(uplink, kind)


def _accident(uplink: _Row, number: int) -> str:
    """Return a line with the accident of a number (see ``_ACCIDENTS``)."""
    message = uplink["uplink_message"]
    test = {"gateway_ids": {"gateway_id": "test"}, "rssi": 42, "snr": 4.2}
    if number in {0, 3}:
        uplink |= {"simulated": True, "uplink_message": message | {"rx_metadata": [test]}}
    elif number == 2:
        late = {"received_at": "yesterday"}
        uplink |= late | {"uplink_message": message | late}
    elif number == 4:
        uplink |= {"uplink_message": message | {"rx_metadata": "many"}}
    elif number == 5:
        return "connection reset by peer"
    return json.dumps(uplink)[: 300 if number == 1 else None]
