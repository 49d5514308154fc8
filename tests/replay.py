"""A chain that is the same on every machine: ``python -m tests.replay [FRAMES]``.

Prints its hashes as JSON. Everything that changes the state takes part: every message, valid and
not, every rule and policy, pages that fall into several blocks. Draws come from SHA-256, so that
they depend on no version of anything. With FRAMES it runs that many Python frames deep.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter

from dii import codec, crypto
from dii.application import actions, messages
from dii.consensus.node import Node
from dii.consensus.solo import Solo
from dii.contracts import tree
from dii.contracts.agreements import Agreement, PayPerUplink, UptimeAgreement
from dii.contracts.values import INT, form
from dii.crypto import SigningKey, claim_address, contract_address
from dii.genesis import Genesis
from dii.ledger.index import TABLES
from dii.ledger.transaction import MAX_BYTES
from dii.minting import (
    Airtime,
    Composite,
    DataCredits,
    ExponentialDecay,
    FixedEmission,
    PerContribution,
    ShapleyTraffic,
    Uptime,
)
from tests.chains import (
    ALICE,
    BOB,
    CAROL,
    EPOCH,
    GAS,
    REPORTER,
    REPORTERS,
    START,
    THIEF,
    VALIDATOR,
    gateway,
    genesis,
    report,
    scope,
    sign,
    stream,
)

GATEWAYS = 40
EPOCHS = 6
METRICS = {
    "main": ("online_ppm", "shapley_uplinks", "uplink_units"),
    "other": ("online_ppm", "data_units"),
}
USAGE = {"main": ("delivered", "lost"), "other": ()}
REPORTERS_OF = {"main": REPORTERS[:4], "other": (REPORTER,)}
OPERATORS = [hashlib.sha256(b"operator %d" % number).digest()[:20] for number in range(3)]
PEOPLE = (ALICE, BOB, CAROL, THIEF)
DECISIONS: tuple[actions.Action, ...] = (
    actions.SetStream(
        "main", "uptime", Uptime(200_000).spec(), FixedEmission(9_000).spec(), "traffic"
    ),
    actions.RemoveStream("main", "airtime"),
    actions.SetValidator(ALICE.public_key, 5),
    actions.DenyGateway("main", gateway(7), hashlib.sha256(b"evidence").digest(), 99),
    actions.SetGas(2, 1),
    actions.SpendTreasury(BOB.address, 10**12),
)
"""One decision per epoch; the last one needs more money than there is."""


def the_genesis() -> Genesis:
    """Return a genesis with every rule and every policy."""
    streams = [
        stream("uptime", Uptime(300_000), FixedEmission(10_000), rest="traffic"),
        stream("traffic", ShapleyTraffic(), PerContribution(50, 9_000), rest="points"),
        stream("points", Composite(5, 3, 1), ExponentialDecay(8_000, 900_000), rest="treasury"),
        stream("airtime", Airtime(), FixedEmission(777)),
        stream("data", DataCredits(2), FixedEmission(5_000), scope="other", rest="presence"),
        stream("presence", policy=FixedEmission(100), scope="other", rest="treasury"),
    ]
    return genesis(
        scopes=[
            scope(name, metrics, REPORTERS_OF[name], USAGE[name])
            for name, metrics in METRICS.items()
        ],
        streams=streams,
        max_mint_per_epoch=30_000,
        limits={"settle_rows": 60, "max_bindings": 100},
    )


def number(value: int) -> bytes:
    """Return an int as a call carries it."""
    return bytes(form(INT).pack(value))


class Replay:
    """Maker of the chain."""

    def __init__(self) -> None:
        self.node = Node(the_genesis())
        self.solo = Solo(self.node, VALIDATOR, ALICE)
        self.nonces: Counter[SigningKey] = Counter()
        self.contracts: list[bytes] = []
        self.drawn = 0

    def draw(self, below: int) -> int:
        """Return the next number below a bound."""
        self.drawn += 1
        return int.from_bytes(hashlib.sha256(b"draw %d" % self.drawn).digest()[:8]) % below

    def say(self, key: SigningKey, message: messages.Message, gas_limit: int = GAS) -> bytes:
        """Sign a message with the next nonce."""
        self.nonces[key] += 1
        chain, nonce = self.node.genesis.hash, self.nonces[key] - 1
        return sign(chain, key, nonce, message, gas_limit=gas_limit)

    def talk(self) -> bytes:
        """Return a message of somebody, signed."""
        key, other = PEOPLE[self.draw(4)], PEOPLE[self.draw(4)]
        address = [other.address, claim_address("main", OPERATORS[self.draw(3)]), bytes(20)][
            self.draw(3)
        ]
        match self.draw(12):
            case 0:
                return self.say(key, messages.Burn(self.draw(5_000)))
            case 1 | 2:
                return self.say(
                    key, messages.AssignGateway("main", gateway(self.draw(GATEWAYS)), other.address)
                )
            case 3:
                return self.say(key, messages.Transfer(address, 10**10))
            case 4:
                return self.say(key, messages.Claim("main", OPERATORS[0], key.public_key))
            case 10 | 11:
                return self.call(key)
            case 5:
                return self.say(
                    key, messages.Transfer(hashlib.sha256(address).digest()[:20], 1), 1_500
                )
            case _:
                return self.say(key, messages.Transfer(address, self.draw(10**6)))

    def deploy(self, agreement: Agreement, *arguments: codec.Value, value: int) -> bytes:
        """Return alice's deployment of an agreement for all epochs; its purse empties before."""
        self.contracts.append(contract_address(ALICE.address, self.nonces[ALICE]))
        code, wire = tree.encode(agreement.tree), codec.encode((*arguments, number(EPOCHS)))
        return self.say(ALICE, messages.Deploy("main", code, wire, value, 60_000, 250_000))

    def call(self, key: SigningKey) -> bytes:
        """Return a call of a contract, or money for its purse."""
        uptime, uplinks = self.contracts
        epoch = number(self.draw(EPOCHS))
        calls: list[messages.Message] = [
            messages.Call(uptime, "prove", codec.encode((epoch,)), 0),
            messages.Call(uptime, "release", codec.encode((epoch,)), 0),
            messages.Call(uptime, "give_back", codec.encode((epoch,)), self.draw(2)),
            messages.Call(uplinks, "fund", codec.encode(()), self.draw(1_000)),
            messages.Call(uplinks, "withdraw", codec.encode((gateway(4 + self.draw(4)),)), 0),
            messages.TopUp(self.contracts[self.draw(2)], 130_000),
        ]
        return self.say(key, calls[self.draw(len(calls))])

    def report(self, name: str, epoch: int) -> list[bytes]:
        """Return the reports of a scope on an epoch; now and then a value is unknown.

        One of several reporters lies, and in every third epoch another is absent.
        """
        said = []
        truth = self.rows(name)
        for number, key in enumerate(REPORTERS_OF[name]):
            if number == 1 and epoch % 3 == 2:
                continue
            rows = self.rows(name) if number == 3 else truth
            used = {b"used" * 5 + one: row for one, row in rows.items()} if USAGE[name] else {}
            parts = report(
                epoch, rows, scope=name, metrics=METRICS[name], chunk_rows=9 - 4 * (number == 2),
                usage={one: row[: len(USAGE[name])] for one, row in used.items()},
                usage_columns=USAGE[name],
            )  # fmt: skip
            said += [self.say(key, message) for message in parts]
        return said

    def rows(self, name: str) -> dict[bytes, list[int | None]]:
        """Draw the metrics of an epoch."""
        return {
            gateway(number): [
                None if self.draw(20) == 0 else self.draw(10**6) for _ in METRICS[name]
            ]
            for number in range(self.draw(2), GATEWAYS)
        }

    def all_say(self, name: str, message: messages.Message) -> list[bytes]:
        """Return one message by all reporters of a scope."""
        return [self.say(key, message) for key in REPORTERS_OF[name]]

    def run(self) -> dict[str, object]:
        """Make all blocks; return their hashes and counts."""
        owners = [key.address for key in PEOPLE] + [claim_address("main", one) for one in OPERATORS]
        for name, first in (("main", 1), ("other", 25)):
            bindings = tuple(
                (gateway(number), owners[self.draw(len(owners))])
                for number in range(first, first + 15)
            )
            self.solo.produce(self.all_say(name, messages.RegisterGateways(name, bindings)))
            self.solo.produce(self.all_say(name, messages.RegisterApplications(name, bindings)))
        alone = tuple((gateway(number), ALICE.address) for number in (1, 2, 24))
        self.solo.produce([self.say(REPORTERS[3], messages.RegisterGateways("main", alone))])
        online, paid = number(300_000), number(3)
        operators = tuple(map(gateway, range(4, 8)))  # as in the reports
        self.solo.produce(
            [
                self.deploy(UptimeAgreement, gateway(3), online, value=60_000),
                self.deploy(PayPerUplink, b"used" * 5, operators, paid, value=40_000),
            ]
        )
        deep: codec.Value = ()
        for _ in range(codec.MAX_DEPTH - 4):
            deep = (deep,)
        strange = [b"", bytes(MAX_BYTES + 1), codec.encode(deep), codec.encode((deep, bytes(64)))]
        for epoch in range(EPOCHS):
            said = [self.say(VALIDATOR, messages.Propose(DECISIONS[epoch]))]
            said += [
                self.say(key, messages.Vote(epoch, approve=True))
                for key in (ALICE, VALIDATOR, THIEF)
            ]
            self.solo.produce(said)
            for _ in range(5):
                self.solo.produce([self.talk() for _ in range(10)] + strange)
            end = START + (epoch + 1) * EPOCH
            self.solo.produce(self.report("main", epoch), end)
            self.solo.produce(self.report("other", epoch))
            if epoch < len(OPERATORS):
                owner = PEOPLE[epoch].public_key
                self.solo.produce(
                    self.all_say("main", messages.Claim("main", OPERATORS[epoch], owner))
                )
            again = messages.RegisterGateways(
                "main", ((gateway(1 + epoch), PEOPLE[epoch % 4].address),)
            )
            self.solo.produce(self.all_say("main", again))
            self.solo.settle()
        self.solo.produce((), START + (EPOCHS + 1) * EPOCH)  # for what waits for a quorum
        self.solo.settle()
        header = self.node.header
        assert header is not None
        tables = {name: self.node.index.query(f"SELECT * FROM {name}") for name in TABLES}
        texts = "transactions", "events", "governance"  # end with a text: detail, or details
        without = {
            name: [row[:-1] for row in rows] if name in texts else rows
            for name, rows in tables.items()
        }
        return {
            "height": header.height,
            "header": header.hash.hex(),
            "app_hash": self.node.app.info()[1].hex(),
            "index": _digest(tables),
            "index_without_texts": _digest(without),
            "transactions": len(tables["transactions"]),
            "succeeded": sum(row[6] == 0 for row in tables["transactions"]),
            "receipts": len(tables["receipts"]),
        }


def _digest(tables: dict[str, list[tuple[object, ...]]]) -> str:
    return hashlib.sha256(codec.encode([[name, rows] for name, rows in tables.items()])).hexdigest()


def deeply(frames: int) -> dict[str, object]:
    """Run with that many frames below."""
    return deeply(frames - 1) if frames else Replay().run()


if __name__ == "__main__":
    print(json.dumps(deeply(int(sys.argv[1]) if len(sys.argv) > 1 else 0)))
    print(f"{sys.version.split()[0]}, accelerator: {crypto.accelerator()}", file=sys.stderr)
