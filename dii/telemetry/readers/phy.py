"""Frames as they go over the air (LoRaWAN 1.0.4, section 4), for logs of gateways.

A gateway cannot read what it hears, but the header is in the clear: what kind of frame it is, the
device's address and the lower 16 bits of its counter. Whose device it is shows in the address,
which begins with the network's prefix. What identifies the frame is the whole of it, with its
integrity code: devices of other networks share addresses, and start their counters again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from dii.telemetry.readers.fields import Fault, eui, payload_hash

PREFIXES: Final[Mapping[str, tuple[int, int]]] = {"ttn": (0x2600_0000, 7)}
"""First address and length in bits of the prefix of networks: The Things Network has NetID 000013,
type 0, NwkID 0x13 (LoRaWAN Backend Interfaces 1.0, section 12)."""

_KINDS: Final = {
    0: "join",
    1: "downlink",
    2: "data",
    3: "downlink",
    4: "data",
    5: "downlink",
    6: "join",
}
_JOIN_REQUEST: Final = 23
_SHORTEST: Final = 12
"""Bytes of a data frame without options and payload: 1 + 7 + 4."""


class Frame(NamedTuple):
    """What the header of a frame says, in columns of receptions."""

    kind: str
    device: str | None
    f_cnt: int | None
    payload_hash: int
    size: int | None
    foreign: bool | None


def read_frame(data: bytes, network: str) -> Frame:
    """Return what a physical payload says.

    Parameters
    ----------
    data
        The frame, header to integrity code.
    network
        For whom an address is foreign or not; of networks outside ``PREFIXES`` that is unknown.

    Raises
    ------
    Fault
        ``not_uplink`` of a proprietary frame, ``bad_field`` of what is no frame.
    """
    kind = _KINDS.get(data[0] >> 5) if data else None
    if data and kind is None:
        raise Fault("not_uplink", "a proprietary frame")
    body = payload_hash(data)
    if kind == "join" and len(data) == _JOIN_REQUEST and data[0] >> 5 == 0:
        return Frame(kind, eui(data[16:8:-1].hex()), None, body, None, None)
    if kind is None or len(data) < _SHORTEST:
        raise Fault("bad_field", "a payload: a LoRaWAN frame is expected")
    if kind == "join" or data[0] >> 5 == 1:
        return Frame(kind, None, None, body, None, None)
    address = int.from_bytes(data[1:5], "little")
    rest = len(data) - _SHORTEST - (data[5] & 15)
    if rest < 0:
        raise Fault("bad_field", "a payload: options longer than the frame")
    foreign = None
    if network in PREFIXES:
        prefix, bits = PREFIXES[network]
        foreign = (address ^ prefix) >> (32 - bits) != 0
    f_cnt = int.from_bytes(data[6:8], "little")
    return Frame(kind, f"{address:08X}", f_cnt, body, max(rest - 1, 0), foreign)


def read_uplink(data: bytes, network: str) -> Frame:
    """Return what a frame says that a gateway heard; a downlink overheard is ``not_uplink``."""
    frame = read_frame(data, network)
    if frame.kind == "downlink":
        raise Fault("not_uplink", "a downlink of a gateway near by")
    return frame
