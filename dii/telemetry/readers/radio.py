"""Receptions that are stronger than the stated places of device and gateway allow.

Where a record states both places, physics bounds the strength of the reception: power spreads over
a sphere, and obstacles only weaken it. A stronger reception did not happen there: the frame came to
the gateway by wire, or one of the two places is wrong. All constants are lenient, so that only
impossible receptions are set aside, not unlikely ones.

The check is off by default, as places are statements: the owner of an application states the places
of its devices, pays for their uplinks, and could remove uplinks by moving devices on the map.
Distance alone is no reason: balloons and satellites are heard over hundreds of kilometres, weakly.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log10
from typing import Final

from dii.telemetry.metrics.sites import Place, distance
from dii.telemetry.readers import fields
from dii.telemetry.readers.fields import Fault, Record

EIRP: Final = 36.0
"""Most power that a region allows a device to radiate, in dBm (USA, 47 CFR 15.247: 30 + 6)."""
ANTENNA: Final = 15.0
"""dBi of a gateway's antenna; the common ones have 2 to 9."""
FREQUENCY: Final = 433.05
"""MHz: the lowest band of LoRaWAN. The higher the frequency, the weaker the reception."""
NEAR: Final = 1_000.0
"""Metres within which rounded and jittered places do not bound the strength."""
NOWHERE: Final[Place] = (0.0, 0.0)
"""Place that forms fill in where nobody states one."""


def strongest(metres: float) -> float:
    """Return the greatest strength in dBm with which a frame arrives over a distance.

    Free-space loss is 20 log d + 20 log f + 32.4 dB with d in km and f in MHz
    (ITU-R P.525-4, equation 6).
    """
    return EIRP + ANTENNA - (20 * log10(metres / 1000) + 20 * log10(FREQUENCY) + 32.4)


def place(record: Record) -> Place | None:
    """Return the place of a record's ``latitude`` and ``longitude``, None without a sound one."""
    try:
        north, east = (
            fields.get(record, name, fields.number(name)) for name in ("latitude", "longitude")
        )
    except Fault:
        return None
    if north is None or east is None or (north, east) == NOWHERE:
        return None
    return north, east


def too_strong(rssi: float | None, gateway: Record, devices: Iterable[Record]) -> str | None:
    """Return the reason why a reception is too strong for free space, None if it is not.

    Parameters
    ----------
    rssi
        Strength of the reception, dBm.
    gateway, devices
        Places that the record states for the gateway, and for the device: the nearest counts.
        Without both places, or within a kilometre, no reception is too strong.
    """
    here = place(gateway)
    places = [one for one in map(place, devices) if one is not None]
    if rssi is None or here is None or not places:
        return None
    metres = min(distance(here, one) for one in places)
    if metres < NEAR or rssi <= (most := strongest(metres)):
        return None
    return f"{rssi:g} dBm over {metres / 1000:,.1f} km; free space allows {most:.1f} dBm at most"
