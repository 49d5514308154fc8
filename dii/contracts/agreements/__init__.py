"""Agreements included in the package, written in the language of contracts.

Each is a text beside this file (``*.dii``), whose docstring states its promise in plain language.
They are deployed by name::

    net.deploy(agreements.UptimeAgreement, by="bob", value="100 TTC",
               gateway=receipt.gateway, online_ppm="95 %", epochs=4)

All of them keep disputed money rather than destroy it, let each payee withdraw (so that a payee
that refuses money does not hold up the others), and leave no money behind permanently.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dii.contracts import frontend
from dii.contracts.tree import Contract
from dii.contracts.values import spell


@dataclass(frozen=True, slots=True)
class Agreement:
    """A contract included in the package.

    Attributes
    ----------
    name
        Name on the command line, and of its file.
    """

    name: str

    @property
    def source(self) -> str:
        """Its text."""
        return Path(__file__).with_name(f"{self.name}.dii").read_text(encoding="utf-8")

    @property
    def tree(self) -> Contract:
        """Its syntax tree, which is deployed."""
        return frontend.parse(self.source)

    @property
    def summary(self) -> str:
        """Its docstring: its promise, in plain words."""
        return self.tree.doc

    @property
    def takes(self) -> str:
        """Parameters of its deployment, as text."""
        init = next(item for item in self.tree.functions if item.name == "init")
        return ", ".join(f"{item.name}: {spell(item.type)}" for item in init.parameters)


UptimeAgreement: Final = Agreement("uptime")
PayPerUplink: Final = Agreement("pay_per_uplink")
CoverageBounty: Final = Agreement("coverage")
Assurance: Final = Agreement("assurance")
SharedOwnership: Final = Agreement("shared_ownership")

AGREEMENTS: Final = {
    agreement.name: agreement
    for agreement in (UptimeAgreement, PayPerUplink, CoverageBounty, Assurance, SharedOwnership)
}
"""Every agreement, by name."""
