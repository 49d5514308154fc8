"""Time on air of LoRa frames, in integer microseconds.

Airtime is the time for which a frame occupies a gateway's channel, so it is the fairest unit of
radio work. Network servers state it since 2021; for older records it follows from the size and the
modulation. Symbols last 2^SF / bandwidth, which at LoRaWAN's bandwidths is a whole number of
quarter microseconds, so everything here is exact and floats are never needed.
"""

from __future__ import annotations

import re
from typing import Final

MAC_OVERHEAD: Final = 13
"""Bytes that LoRaWAN adds to an application payload: header 1, device address 4, control 1,
counter 2, port 1, integrity code 4 (LoRaWAN 1.0.4, section 4). Options in the header come on top
and are known to the network server only; a frame without payload has no port."""
BANDWIDTHS: Final = frozenset({125_000, 250_000, 500_000})
"""LoRaWAN's bandwidths below 1 GHz, in hertz."""

CODE_RATES: Final = {f"{form}{rate}": rate for form in ("4/", "CR_4_") for rate in range(5, 9)}
"""Denominators of code rates; ``CR_4_5`` is how ChirpStack v4 writes 4/5."""
_DATA_RATE: Final = re.compile(r"SF([0-9]{1,2})BW([0-9]{3})", re.IGNORECASE | re.ASCII)


def time_on_air(
    size: int,
    spreading_factor: int,
    bandwidth: int = 125_000,
    coding_rate: int = 5,
    low_data_rate: bool | None = None,
    *,
    preamble: int = 8,
    header: bool = True,
    crc: bool = True,
) -> int:
    """Return the time on air of a LoRa frame in microseconds, a fraction rounded up.

    The formula is that of Semtech's SX1276 data sheet, section 4.1.1.7 (also in application note
    AN1200.13), in integers.

    Parameters
    ----------
    size
        Bytes of the physical payload: for an uplink the application's payload and
        ``MAC_OVERHEAD``.
    spreading_factor
        7 to 12.
    bandwidth
        Hertz.
    coding_rate
        Denominator of the code rate, 5 (for 4/5) to 8.
    low_data_rate
        Low data rate optimisation; by default where a symbol lasts longer than 16 ms, as LoRaWAN
        demands.
    preamble
        Programmed symbols of preamble.
    header, crc
        Explicit header; checksum of the payload (uplinks have both).

    Raises
    ------
    ValueError
        A parameter out of its range.
    """
    if size < 0 or preamble < 0 or bandwidth <= 0:
        raise ValueError("size, preamble and bandwidth cannot be negative")
    if not (7 <= spreading_factor <= 12 and 5 <= coding_rate <= 8):
        raise ValueError("spreading factors are 7 to 12, coding rates 5 to 8")
    chips = 1 << spreading_factor
    if low_data_rate is None:
        low_data_rate = chips * 1000 > 16 * bandwidth
    bits = 8 * size - 4 * spreading_factor + 28 + 16 * crc - 20 * (not header)
    per_block = 4 * (spreading_factor - 2 * low_data_rate)
    payload = 8 + max(-(-bits // per_block), 0) * coding_rate
    quarters = 4 * (preamble + payload) + 17  # the preamble ends with 4.25 symbols of its own
    return -(-quarters * chips * 1_000_000 // (4 * bandwidth))


def frame_airtime(
    size: int,
    spreading_factor: object,
    bandwidth: object,
    code_rate: object = None,
    *,
    crc: bool = True,
) -> int | None:
    """Return the time on air of a frame in microseconds, None where its modulation is unknown.

    Parameters
    ----------
    size
        Bytes of the physical payload.
    spreading_factor, bandwidth, code_rate
        As a network server states them, unchecked: ``7``, ``125000``, ``"4/5"`` (the default).
    crc
        Whether it carries a checksum: uplinks do, downlinks do not.
    """
    if type(spreading_factor) is not int or not 7 <= spreading_factor <= 12:
        return None
    if type(bandwidth) is not int or bandwidth not in BANDWIDTHS:
        return None
    coding = CODE_RATES.get(code_rate if isinstance(code_rate, str) else "4/5")
    if coding is None:
        return None
    return time_on_air(size, spreading_factor, bandwidth, coding, crc=crc)


def uplink_airtime(
    payload: int | None, spreading_factor: object, bandwidth: object, code_rate: object = None
) -> int | None:
    """Return the time on air of an uplink with an application payload of so many bytes.

    It is None where the payload is unknown. A frame without payload has no port. For the modulation
    see ``frame_airtime``.
    """
    if payload is None:
        return None
    size = payload + MAC_OVERHEAD if payload else MAC_OVERHEAD - 1
    return frame_airtime(size, spreading_factor, bandwidth, code_rate)


def data_rate(_key: str, text: object) -> tuple[int | None, int | None]:
    """Return spreading factor and bandwidth (hertz) of ``"SF7BW125"``; None, None of anything else.

    Frequency-shift keying is written as a number of bits per second.
    """
    match = _DATA_RATE.fullmatch(text) if isinstance(text, str) else None
    return (int(match[1]), int(match[2]) * 1000) if match else (None, None)
