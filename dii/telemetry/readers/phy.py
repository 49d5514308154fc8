"""Frames as they go over the air (LoRaWAN 1.0.4, section 4), for logs of gateways.

A gateway cannot decrypt a frame, but the header is readable: the kind of the frame, the device's
address and the lower 16 bits of its counter. The address begins with the prefix of the device's
network. A frame is identified by all of its bytes, with the integrity code, as devices of different
networks share addresses, and counters start again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dii.schema import Reception
from dii.telemetry.readers.fields import Fault, eui, payload_hash

PREFIXES: Final[Mapping[str, tuple[int, int]]] = {"ttn": (0x2600_0000, 7)}
"""First address and length in bits of the prefix of networks: The Things Network has NetID 000013,
type 0, NwkID 0x13 (LoRaWAN Backend Interfaces 1.0, section 12)."""

_KINDS: Final = ("join", "downlink", "data", "downlink", "data", "downlink", "join", None)
"""Kinds of frames by the first three bits of their headers."""
_JOIN_ACCEPT: Final = 1
_JOIN_REQUEST: Final = 23
_SHORTEST: Final = 12
"""Bytes of a data frame without options and payload: 1 + 7 + 4."""


def read_frame(data: bytes, time: int, network: str) -> Reception:
    """Return the columns of receptions that the header of a frame states.

    Parameters
    ----------
    data
        The frame, header to integrity code.
    time
        Time of reception or of sending.
    network
        Network for which an address is foreign or not; unknown for networks not in ``PREFIXES``.

    Raises
    ------
    Fault
        ``not_uplink`` for a proprietary frame, ``bad_field`` for bytes that are no frame.
    """
    kind = _KINDS[data[0] >> 5] if data else None
    if data and kind is None:
        raise Fault("not_uplink", "a proprietary frame")
    if kind is None or len(data) < _SHORTEST:
        raise Fault("bad_field", "a payload: a LoRaWAN frame is expected")
    frame = Reception(time, None, kind=kind, payload_hash=payload_hash(data))
    if len(data) == _JOIN_REQUEST and data[0] >> 5 == 0:
        return frame._replace(device=eui(data[16:8:-1].hex()))
    if kind == "join" or data[0] >> 5 == _JOIN_ACCEPT:
        return frame
    rest = len(data) - _SHORTEST - (data[5] & 15)
    if rest < 0:
        raise Fault("bad_field", "a payload: options longer than the frame")
    address, foreign = int.from_bytes(data[1:5], "little"), None
    if network in PREFIXES:
        prefix, bits = PREFIXES[network]
        foreign = (address ^ prefix) >> (32 - bits) != 0
    f_cnt, size = int.from_bytes(data[6:8], "little"), max(rest - 1, 0)
    return frame._replace(device=f"{address:08X}", f_cnt=f_cnt, size=size, foreign=foreign)
