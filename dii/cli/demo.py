"""The main job from beginning to end, on the sample in ``data/``: ``make demo``.

Eleven steps, each with the Python that does it; whoever pastes these lines into a notebook gets the
same numbers, to the last digit, since a laboratory network's keys follow from its seed. The home
lies in a temporary folder and goes when the story ends.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import dii
from dii.cli import screen
from dii.cli import tables as look
from dii.cli.options import program
from dii.cli.telemetry import show_telemetry
from dii.errors import ProofInvalid

if TYPE_CHECKING:
    from dii import Network
    from dii.network import Receipt
    from dii.network.contracts import Deal

SAMPLE: Final = Path(__file__).parents[2] / "data"
FILES: Final = ("registry.json", "uplinks.jsonl", "statuses.csv")
SEED: Final = 7
DEAF: Final = "B827EBFFFE0F7730"
"""A gateway of the sample that stops hearing anything on the way."""


def main() -> None:
    """Tell the story."""
    began = time.monotonic()
    screen.say("dii: a micro-economy for a community that builds infrastructure together", "bold")
    screen.say("Eight days of a small synthetic LoRaWAN network, from files to money and proofs.")
    with tempfile.TemporaryDirectory(prefix="dii-demo-") as folder, _made(folder) as network:
        deals = _agree(network)
        _settle(network)
        _kept(deals)
        _explain(network)
        _spend(network)
        _repeat(network)
        gateway = network.issuance(0)["gateway"].iloc[0]
    _next(gateway)
    screen.say()
    screen.say(f"All of this took {time.monotonic() - began:.1f} s.", "dim")


def _step(title: str, *code: str) -> None:
    screen.say()
    screen.say(title, "bold green")
    for line in code:
        screen.say(f"  {line}", "dim")
    screen.say()


def _made(folder: str) -> Network:
    """Load the sample and make a network for it."""
    names = ", ".join(f'"data/{name}"' for name in FILES)
    _step("What gateways reported, and what was set aside and why", f"data = load({names})")
    data = dii.load(*(SAMPLE / name for name in FILES))
    show_telemetry(data)
    network = dii.Network.create(
        "ttn", symbol="TTC", seed=SEED, home=Path(folder) / "home", allocations={"bob": "500 TTC"}
    )
    network.ingest(data)
    start = f"{network.genesis.start:%Y-%m-%d}"
    _step(
        f"What each gateway did in epoch 0, {start}: the first five",
        f'network = Network.create("ttn", symbol="TTC", seed={SEED}, allocations={{"bob": "500 TTC"}})',
        "network.ingest(data)",
        "network.metrics(0)",
    )
    measured = network.metrics(0).to_pandas().query("gateway != ''")
    columns = "gateway online_ppm receptions uplinks sole_uplinks shapley_uplinks"
    screen.rows(measured.nlargest(5, "shapley_uplinks"), columns)
    return network


def _agree(network: Network) -> list[Deal]:
    """Let bob promise money for services: three agreements that carry themselves out."""
    best = network.metrics(0).to_pandas().query("gateway != ''").nlargest(1, "shapley_uplinks")
    heard = str(best["gateway"].iloc[0])
    _step(
        "Agreements, deployed by bob: 10 TTC a day that a gateway is online; 0.05 TTC an uplink",
        "from dii import agreements",
        f'network.deploy(agreements.UptimeAgreement, by="bob", value="50 TTC", gateway="{heard}",',
        "               online_ppm=950_000, epochs=5)  # and the same for another gateway",
        'network.deploy(agreements.PayPerUplink, by="bob", value="10 TTC", application="doors-1",',
        '               operators=["linden-lab"], price="0.05 TTC", epochs=5)',
    )
    deals = [
        network.deploy(
            dii.agreements.UptimeAgreement, by="bob", value="50 TTC", gateway=gateway,
            online_ppm=950_000, epochs=5,
        )
        for gateway in (heard, DEAF)
    ]  # fmt: skip
    deals.append(
        network.deploy(
            dii.agreements.PayPerUplink, by="bob", value="10 TTC", application="doors-1",
            operators=["linden-lab"], price="0.05 TTC", epochs=5,
        )
    )  # fmt: skip
    screen.rows(network.contracts(), "contract agreement balance status", network)
    return deals


def _kept(deals: list[Deal]) -> None:
    """Tell what the agreements did by themselves, and why."""
    _step("What the agreements did by themselves, epoch after epoch", "deal.events()")
    for deal in deals:
        events = deal.events()
        counts = events.loc[events["told"], "event"].value_counts()
        kept = ", ".join(f"{word} {count}" for word, count in counts.items())
        holds = deal.network.currency.format(deal.balance)
        screen.say(f"{deal.title} {deal.view('status').capitalize()}: {kept}; now holds {holds}.")
        terms = deal.lines()
        if "required" in terms:
            screen.say(f"An epoch is paid if online for {terms['required']}, else refunded.")
        else:
            screen.say(f"An uplink is {terms['price_each']}; what is credited can be withdrawn.")
        screen.rows(events[events["told"]], "event details")
        screen.say()


def _settle(network: Network) -> None:
    """Report, mint and settle every epoch."""
    _step(
        "Reported, minted and settled, epoch after epoch: 10,000 TTC a day by share in uplinks",
        "network.run()",
        "network.epochs(); network.operators()",
    )
    with screen.progress("settling epochs") as tick:
        network.run(progress=tick)
    look.show_overview(network, None, most=8)
    screen.say()
    screen.say("unminted: the share of receptions that name no gateway; treasury: of gateways")
    screen.say("that name no operator.")


def _explain(network: Network) -> None:
    """Explain one receipt, check its proof, and show that a forged one fails."""
    _step(
        "One receipt, explained and checked against a header hash, and against nothing else",
        'receipt = network.receipt(network.issuance(epoch=0)["gateway"][0], epoch=0)',
        "receipt.verify(network.header().hash)",
    )
    receipt = network.receipt(network.issuance(0)["gateway"].iloc[0], epoch=0)
    trusted = network.header().hash
    receipt.verify(trusted)
    size = len(json.dumps(receipt.proof.to_json()))
    checked = f"its proof of {size:,} bytes holds under header {trusted.hex()}"
    forged = f"with one unit more in it {_forged(receipt, trusted)}"
    screen.facts({**receipt.lines(), "checked": checked, "forged": forged})


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


def _spend(network: Network) -> None:
    """Move money."""
    earner = network.operators().query("operator != 'treasury'")["operator"].iloc[0]
    _step("A payment", f'network.transfer("bob", "{earner}", "12.5 TTC")')
    network.transfer("bob", earner, "12.5 TTC")
    accounts = network.accounts()
    paid = accounts[accounts["account"].isin(["bob", earner])]
    screen.rows(network.transfers(), look.PEOPLE[look.Table.TRANSFERS], network)
    screen.say()
    screen.rows(paid, look.PEOPLE[look.Table.ACCOUNTS], network)


def _repeat(network: Network) -> None:
    """Execute the chain again."""
    _step("The whole chain, executed again from its genesis", "network.verify()")
    found = network.verify()
    money = network.currency.format
    screen.facts(
        {
            "holds": f"{found.height} blocks, {found.transactions} transactions",
            "app hash": found.app_hash.hex(),
            "minted": f"{money(found.minted)}, opening balances included",
            "burned": money(found.burned),
        }
    )


def _next(gateway: str) -> None:
    """Print what to try; the lines work in this order."""
    _step("What to try next")
    dii_ = program()
    files = " ".join(f"data/{name}" for name in FILES)
    for line in (
        f"{dii_} init --seed {SEED} --allocate bob=500",
        f"{dii_} load {files}",
        f"{dii_} run",
        f"{dii_} receipt {gateway} 0 --verify",
        f"{dii_} transfer treasury 12.5 --from bob",
        f"{dii_} verify",
        f"{dii_} --help",
    ):
        screen.say(f"  {line}")


if __name__ == "__main__":
    main()
