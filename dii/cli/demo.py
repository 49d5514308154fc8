"""The main job from beginning to end, on the sample in ``data/``: ``make demo``.

The code of :func:`story` is shown step by step while it runs. In each step the first line, a
comment, is the title, and the last one yields the output. Whoever pastes the code into a notebook
gets the same numbers, to the last digit: a laboratory network's keys follow from its seed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import json
import re
import textwrap
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import dii
from dii.cli import screen, tables
from dii.cli.options import program
from dii.cli.proofs import holding
from dii.cli.telemetry import loaded
from dii.errors import ProofInvalid

if TYPE_CHECKING:
    import pandas as pd

    from dii.network import Receipt
    from dii.network.contracts import Contract

ROOT: Final = Path(__file__).parents[2]
FILES: Final = ("registry.json", "uplinks.jsonl", "statuses.csv")
METRICS: Final = "gateway online_ppm receptions uplinks sole_uplinks shapley_uplinks"
CONTRACTS: Final = "contract agreement balance status"


def story() -> Iterator[screen.Shown]:
    """Load, measure, promise, settle, explain, pay, verify."""
    # What gateways reported, and what was set aside and why
    data = dii.load("data/registry.json", "data/uplinks.jsonl", "data/statuses.csv")
    yield loaded(data)

    # What each gateway did in epoch 0, 2025-03-03: the first five
    network = dii.Network.create("ttn", symbol="TTC", seed=7, allocations={"bob": "500 TTC"})
    network.ingest(data)
    metrics = network.metrics(0).to_pandas().query("gateway != ''")
    best = metrics.nlargest(5, "shapley_uplinks")
    yield partial(screen.rows, best, METRICS)

    # Agreements, deployed by bob: 10 TTC a day that a gateway is online; 0.05 TTC an uplink
    uptime, uplinks = dii.agreements.UptimeAgreement, dii.agreements.PayPerUplink
    terms = {"online_ppm": 950_000, "epochs": 5}
    contracts = [
        network.deploy(uptime, by="bob", value="50 TTC", gateway="ttn:gateway-14", **terms),
        network.deploy(uptime, by="bob", value="50 TTC", gateway="B827EBFFFE0F7730", **terms),
        network.deploy(
            uplinks,
            by="bob",
            value="10 TTC",
            application="doors-1",
            operators=["linden-lab"],
            price="0.05 TTC",
            epochs=5,
        ),
    ]
    yield partial(screen.rows, network.contracts(), CONTRACTS, network)

    # Reported, minted and settled, epoch after epoch: 10,000 TTC a day by share in uplinks
    network.run()
    yield _settled(network)

    # What the agreements did by themselves, epoch after epoch
    events = [contract.events() for contract in contracts]
    yield _kept(contracts, events)

    # One receipt, explained and checked against a header hash, and against nothing else
    receipt = network.receipt(network.issuance(epoch=0)["gateway"][0], epoch=0)
    receipt.verify(network.header().hash)
    yield _checked(receipt)

    # A payment
    network.transfer("bob", "north-iot", "12.5 TTC")
    yield _paid(network)

    # The whole chain, executed again from its genesis
    verified = network.verify()
    yield holding(verified, network.currency)

    # What to try next
    yield _recommended(receipt.gateway)


def main() -> None:
    """Run the story, and show each step."""
    began = time.monotonic()
    screen.say("dii: a micro-economy for a community that builds infrastructure together", "bold")
    screen.say("Eight days of a small synthetic LoRaWAN network, from files to money and proofs.")
    screen.say("In a notebook, the lines below do the same after `import dii`.")
    code = textwrap.dedent(inspect.getsource(story).partition('"""\n')[2])
    *steps, _ = re.split(r"yield .*\n+", code)
    with contextlib.chdir(ROOT):
        outputs = story()
        for step in steps:
            title, *lines = step.splitlines()
            screen.say()
            screen.say(title.removeprefix("# "), "bold green")
            for line in lines:
                screen.say(f"  {line}", "dim")
            screen.say()
            screen.show_parts(next(outputs))
    screen.say()
    screen.say(f"All of this took {time.monotonic() - began:.1f} s.", "dim")


def _settled(network: dii.Network) -> Iterator[screen.Shown]:
    yield from tables.overview(network, None, most=8)
    yield ""
    yield "unminted: the share of receptions without a gateway; treasury: of gateways without an"
    yield "operator."


def _kept(contracts: Sequence[Contract], events: Sequence[pd.DataFrame]) -> Iterator[screen.Shown]:
    """Yield the events of agreements, and the reason of each."""
    for contract, happened in zip(contracts, events):
        told = happened[happened["told"]]
        counts = ", ".join(
            f"{word} {count}" for word, count in told["event"].value_counts().items()
        )
        holds = contract.network.currency.format(contract.balance)
        status = contract.view("status").capitalize()
        yield f"{contract.title} {status}: {counts}; now holds {holds}."
        terms = contract.lines()
        if "required" in terms:
            yield f"An epoch is paid if online for {terms['required']}, else refunded."
        else:
            yield f"An uplink is {terms['price_each']}; credits can be withdrawn."
        yield partial(screen.rows, told, "event details")
        yield ""


def _checked(receipt: Receipt) -> dict[str, object]:
    size, trusted = len(json.dumps(receipt.proof.to_json())), receipt.header.hash
    return {
        **receipt.lines(),
        "checked": f"its proof of {size:,} bytes holds under header {trusted.hex()}",
        "forged": f"with one unit more in it {_forged(receipt, trusted)}",
    }


def _forged(receipt: Receipt, trusted: bytes) -> str:
    """Raise the amount by one unit, and return why the proof does not hold."""
    from dii import codec  # noqa: PLC0415

    more = dataclasses.replace(receipt.leaf, amount=receipt.amount + 1)
    forged = dataclasses.replace(receipt.proof, leaf=codec.dumps(more))
    try:
        forged.verify(trusted)
    except ProofInvalid as error:
        return str(error)
    raise AssertionError("a forged receipt was believed")


def _paid(network: dii.Network) -> Iterator[screen.Shown]:
    accounts = network.accounts()
    paid = accounts[accounts["account"].isin(["bob", "north-iot"])]
    yield partial(screen.rows, network.transfers(), tables.PEOPLE["transfers"], network)
    yield ""
    yield partial(screen.rows, paid, tables.PEOPLE["accounts"], network)


def _recommended(gateway: str) -> Iterator[str]:
    """Yield commands to try; they work in this order."""
    for line in (
        "init --seed 7 --allocate bob=500",
        "load data/registry.json data/uplinks.jsonl data/statuses.csv",
        "run",
        f"receipt {gateway} 0 --verify",
        "transfer treasury 12.5 --from bob",
        "verify",
        "--help",
    ):
        yield f"  {program()} {line}"


if __name__ == "__main__":
    main()
