"""Policies, which say how much a stream may mint in an epoch.

A policy sees the epoch's number and the sum of weights, nothing else, so that nobody can move the
pool except by contributing.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from typing import ClassVar, Final

from dii.errors import BadParameter
from dii.minting.spec import Versioned, registry
from dii.units import PPM

__all__ = ["POLICIES", "ExponentialDecay", "FixedEmission", "PerContribution", "Policy"]


class Policy(Versioned):
    """Base of policies: the amount that a stream may mint in an epoch.

    Attributes
    ----------
    bound
        The parameter that no epoch's pool exceeds.
    """

    bound: ClassVar[str] = "amount"

    @abstractmethod
    def pool(self, epoch: int, total_weight: int, scale: int) -> int:
        """Return the epoch's pool in the smallest unit.

        Parameters
        ----------
        epoch
            Number of the epoch, from 0.
        total_weight
            Sum of all weights under the stream's rule.
        scale
            The rule's weight of one unit of contribution.
        """

    @property
    def most(self) -> int:
        """The greatest pool that any epoch can have."""
        return int(getattr(self, self.bound))

    def check(self) -> None:
        """Refuse parameters that make no sense: BadParameter."""


class FixedEmission(Policy):
    """The same pool every epoch, whatever is contributed.

    Like Bitcoin's block subsidy between halvings: supply is predictable, the price of one unit of
    contribution is not. When few contribute, each unit is worth much, which invites self-traffic
    (Helium 2020; HIP-10).

    Parameters
    ----------
    amount
        Pool of each epoch; ``"10000 TTC"`` or an integer of the smallest unit.
    """

    amount: int | str
    money: ClassVar[tuple[str, ...]] = ("amount",)

    def pool(self, epoch: int, total_weight: int, scale: int) -> int:  # noqa: ARG002
        """Return the fixed amount."""
        return self.most


class PerContribution(Policy):
    """A fixed price for one unit of contribution, under a cap.

    ``pool = min(cap, floor(rate * total_weight / scale))``. Supply follows use; the cap keeps a
    flood of counterfeit contribution from minting without limit.

    Parameters
    ----------
    rate
        Price of one unit (``scale`` weights): one uplink, one full epoch online.
    cap
        Greatest pool of an epoch.
    """

    rate: int | str
    cap: int | str
    money: ClassVar[tuple[str, ...]] = ("rate", "cap")
    bound: ClassVar[str] = "cap"

    def pool(self, epoch: int, total_weight: int, scale: int) -> int:  # noqa: ARG002
        """Return rate times contribution, at most the cap."""
        return min(self.most, int(self.rate) * total_weight // scale)


class ExponentialDecay(Policy):
    """A pool that shrinks by a fixed share every epoch.

    ``pool(e) = floor(pool(e - 1) * keep_ppm / 10**6)``, from ``amount`` in epoch 0, rounded down
    at each step so that every machine agrees. All pools together stay below
    ``amount * 10**6 / (10**6 - keep_ppm)``: a bounded supply, early contribution paid best.

    Parameters
    ----------
    amount
        Pool of epoch 0.
    keep_ppm
        Share of the pool that the next epoch keeps, below 10**6; 999,000 halves it in 693 epochs.
    """

    amount: int | str
    keep_ppm: int
    money: ClassVar[tuple[str, ...]] = ("amount",)

    def pool(self, epoch: int, total_weight: int, scale: int) -> int:  # noqa: ARG002
        """Return the epoch's pool."""
        return _decayed(self.most, self.keep_ppm, epoch)

    def check(self) -> None:
        """Refuse a pool that would not shrink.

        Raises
        ------
        BadParameter
            ``keep_ppm`` is the whole or more.
        """
        if not 0 <= self.keep_ppm < PPM:
            raise BadParameter(spec=self.spec(), message=f"keep_ppm lies in 0 to {PPM - 1}")


_STRIDE: Final = 1 << 10


def _decayed(amount: int, keep_ppm: int, epochs: int) -> int:
    """Return a pool after so many epochs; rounding at each step leaves no closed form."""
    for _ in range(epochs // _STRIDE):
        amount = _stride(amount, keep_ppm, _STRIDE)
        if not amount:
            return 0
    return _stride.__wrapped__(amount, keep_ppm, epochs % _STRIDE)


@lru_cache(maxsize=1 << 12)
def _stride(amount: int, keep_ppm: int, epochs: int) -> int:
    """Return a pool some epochs on; cached, so that late epochs cost no more than early ones."""
    for _ in range(epochs):
        amount = amount * keep_ppm // PPM
    return amount


POLICIES = registry(FixedEmission, PerContribution, ExponentialDecay)
