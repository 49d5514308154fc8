"""Specifications, which name a rule or a policy: (name, version, parameters).

A genesis file and a vote name code that every node already has; they never carry code. What a
released version does is frozen, a change of behaviour is a new version. All parameters are
integers, so that a specification has one byte form.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self, TypeVar

from dii.codec import Bounds, Name, Record
from dii.errors import UnknownVersion
from dii.units import MAX_AMOUNT, Currency

__all__ = ["Spec"]

_Parameter = Annotated[int, Bounds(0, MAX_AMOUNT)]


class Spec(Record):
    """A rule or policy as genesis, state and receipts contain it."""

    name: Name
    version: int
    parameters: tuple[tuple[Name, _Parameter], ...]

    def __str__(self) -> str:
        inner = ", ".join(f"{name}={value}" for name, value in self.parameters)
        return f"{self.name}/{self.version}({inner})"


class Versioned(Record):
    """Base of rules and policies: frozen dataclasses whose fields are their parameters.

    Attributes
    ----------
    version
        Raised when the behaviour changes; older versions stay in the registry.
    money
        The parameters that are amounts; people may write them as ``"12.5 TTC"``.
    """

    version: ClassVar[int] = 1
    money: ClassVar[tuple[str, ...]] = ()

    def resolve(self, currency: Currency) -> Self:
        """Return the same with amounts as integers of the smallest unit."""
        amounts = {name: currency.parse(getattr(self, name)) for name in self.money}
        return dataclasses.replace(self, **amounts)

    def spec(self) -> Spec:
        """Return the name under which genesis, state and receipts know this."""
        parameters = sorted(dataclasses.asdict(self).items())
        return Spec(type(self).__name__, self.version, tuple(parameters))


V = TypeVar("V", bound=Versioned)


def registry(*kinds: type[V]) -> dict[tuple[str, int], type[V]]:
    """Return the classes by (name, version)."""
    return {(kind.__name__, kind.version): kind for kind in kinds}


def from_spec(spec: Spec, known: Mapping[tuple[str, int], type[V]]) -> V:
    """Build the rule or policy that a specification names.

    Raises
    ------
    UnknownVersion
        This release does not have it, or its parameters have other names.
    """
    kind: Any = known.get((spec.name, spec.version))
    names = {field.name for field in dataclasses.fields(kind)} if kind else set()
    parameters = dict(spec.parameters)
    if kind is None or len(parameters) != len(spec.parameters) or not set(parameters) <= names:
        choices = ", ".join(f"{name}/{version}" for name, version in sorted(known))
        raise UnknownVersion(spec=spec, choices=choices)
    try:
        made: V = kind(**parameters)
    except TypeError:
        raise UnknownVersion(spec=spec, choices=", ".join(sorted(names))) from None
    return made
