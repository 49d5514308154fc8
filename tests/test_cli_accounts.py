"""Commands that send messages, and keys."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dii import Network
from dii.application.records import GATEWAYS
from tests.cli import dii, read, refused
from tests.require import SAMPLE


def bound(home: Path, gateway: str) -> bool:
    """Return whether the chain has an owner of a gateway; tables show one earlier."""
    with Network.open(home, readonly=True) as network:
        return network.state.get(GATEWAYS, "main", network.gateway(gateway)) is not None


def balances(home: Path) -> dict[str, int]:
    """Return all balances by name."""
    return {row["account"]: row["balance_uttc"] for row in read("list", "accounts", "--home", home)}


def test_transfer_and_burn_move_what_they_say(copy: Path) -> None:
    before = balances(copy)
    sent = read("transfer", "north-iot", "12.5 TTC", "--from", "bob", "--home", copy)
    burned = read("burn", "1.25", "--from", "bob", "--home", copy)
    after = balances(copy)
    rows = {row["id"]: row for row in read("list", "transactions", "--home", copy)}
    fees = rows[sent["transaction"]]["fee_uttc"] + rows[burned["transaction"]]["fee_uttc"]
    assert after["north-iot"] - before["north-iot"] == 12_500_000
    assert before["bob"] - after["bob"] == 12_500_000 + 1_250_000 + fees
    assert after["treasury"] - before["treasury"] == fees > 0
    assert rows[sent["transaction"]]["height"] == sent["height"]
    assert read("verify", "--home", copy)["burned_uttc"] == 1_250_000
    text = dii("transfer", "treasury", "1,000", "--from", "bob", "--home", copy, code=1).stderr
    assert "refused" in text
    text = dii("transfer", "treasury", "1", "--from", "bob", "--home", copy).stdout
    assert text.startswith("1 TTC from bob to treasury: transaction ")


def test_a_claim_opens_an_operators_account_to_a_key(copy: Path) -> None:
    before = balances(copy)
    spend = ("transfer", "bob", "1", "--from", "north-iot", "--home", copy)
    assert "claimed yet: dii keys new NAME, then dii claim north-iot NAME" in refused(*spend)
    rows = read("list", "gateways", "--home", copy)
    gateway = next(row for row in rows if row["operator"] == "north-iot")
    dii("claim", "north-iot", "bob", "--home", copy)
    assert "'north-iot' is claimed by bob: --from bob" in refused(*spend)
    assert balances(copy)["bob"] == before["bob"] + before["north-iot"]
    assert "north-iot" in refused("claim", "north-iot", "bob", "--home", copy)
    # Both names still lead to the money and the gateways, and bob can spend and assign them.
    owners = {row["gateway"]: row["operator"] for row in read("list", "gateways", "--home", copy)}
    assert owners[gateway["gateway"]] == "bob"
    dii("transfer", "treasury", "600", "--from", "bob", "--home", copy)
    dii("transfer", "north-iot", "1", "--from", "bob", "--home", copy)
    dii("assign", gateway["gateway"], "linden-lab", "--from", "bob", "--home", copy)
    shown = read("show", "gateway", gateway["gateway"], "--home", copy)
    assert (shown["operator"], shown["next_operator"]) == ("bob", "linden-lab")
    assert shown["next_epoch"] > shown["epochs"][-1]["epoch"]
    rows = read("list", "gateways", "--home", copy)
    listed = next(row for row in rows if row["gateway"] == gateway["gateway"])
    assert listed["operator"] == "bob"  # who owns it in the open epoch and is paid for it
    assert listed["since_epoch"] == shown["since_epoch"] == gateway["since_epoch"] == 0
    assert "since epoch" in dii("list", "gateways", "--home", copy).stdout.splitlines()[0]
    # A key that lies elsewhere is named by its public key.
    key = read("keys", "new", "ann", "--home", copy)["public_key"]
    dii("claim", "linden-lab", key, "--home", copy)
    assert balances(copy)["ann"] == before["linden-lab"]
    shown = read("show", "gateway", gateway["gateway"], "--home", copy)
    assert shown["next_operator"] == "ann"


def test_a_claim_account_whose_name_no_key_can_have_is_told_who_signs(tmp_path: Path) -> None:
    words, cafe = ("--home", tmp_path / "home"), "Caf\u00e9 Z\u00fcrich"
    file = tmp_path / "places.csv"
    file.write_text(f"gateway,operator\none,Ben & Co.\ntwo,{cafe}\n")
    dii("init", *words, "--seed", 7, "--allocate", "bob=500")
    dii("load", *SAMPLE, file, *words)
    dii("run", "--epochs", 1, *words)
    dii("claim", "Ben & Co.", "bob", *words)
    spend = ("transfer", "bob", "1", *words, "--from")
    assert "'Ben & Co.' is claimed by bob: --from bob" in refused(*spend, "Ben & Co.")
    assert f"dii claim '{cafe}' NAME" in refused(*spend, cafe)


def test_only_a_gateways_owner_hands_it_on(copy: Path, top: str) -> None:
    assert "belongs to" in refused("assign", top, "bob", "--from", "bob", "--home", copy)
    elsewhere = refused("assign", top, "bob", "--from", "bob", "--scope", "moon", "--home", copy)
    assert "has no owner in scope 'moon'" in elsewhere


def test_keys_are_made_listed_and_carried_to_another_home(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for home in (one, other):
        dii("init", "--home", home, "--start", "2025-03-03")
    outputs = [dii("keys", "new", "ann", "--home", one).stdout]
    shown = read("keys", "show", "ann", "--home", one)
    assert shown in read("keys", "list", "--home", one)
    names = [row["name"] for row in read("keys", "list", "--home", one)]
    assert names == ["ann", "reporter", "validator"]
    file, passphrase = one / "keys" / "ann.key", one / "keys" / "passphrase"
    outputs.append(refused("keys", "new", "ann", "--home", one))
    bring = ["keys", "import", "ann2", file, "--home", other]
    wrong = dii(*bring, typed="wrong\n", code=1)
    assert "the password does not open" in wrong.stderr
    outputs.append(dii(*bring, "--password-file", passphrase).stdout)
    brought = read("keys", "show", "ann2", "--home", other)
    assert brought["public_key"] == shown["public_key"]
    outputs += [dii("keys", "list", "--home", one).stdout, wrong.output]
    secrets = [path.read_bytes() for path in (passphrase, one / "keys" / "network")]
    for text in outputs:
        assert shown["public_key"] in text or "ann" in text or "password" in text
        assert not any(secret.decode() in text for secret in secrets)
    wrong = ("--password-file", one / "names.sqlite")  # no text
    assert "does not open" in refused("keys", "import", "eve", file, *wrong, "--home", other)
    broken = tmp_path / "broken.json"
    broken.write_bytes(file.read_bytes()[:-1])
    refused("keys", "import", "eve", broken, "--password-file", passphrase, "--home", other)
    assert "no such file" in refused(
        "keys", "import", "eve", tmp_path / "no", "--password-file", passphrase, "--home", other
    )
    assert "cannot name an account" in refused(
        "keys", "import", "../ann", file, "--password-file", passphrase, "--home", other
    )


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that is no laboratory: its keys are encrypted; tests leave it as it is."""
    home = tmp_path_factory.mktemp("keys") / "home"
    dii("init", "--home", home, "--start", "2025-03-03", "--allocate", "bob=500")
    return home


def spoiled(home: Path, how: str) -> None:
    """Damage a home's keys."""
    key, passphrase = home / "keys" / "bob.key", home / "keys" / "passphrase"
    match how:
        case "no passphrase":
            passphrase.rename(home / "moved")
        case "corrupt passphrase":
            passphrase.write_bytes(b"\xff")
        case "open to others":
            key.chmod(0o644)
        case "passphrase open to others":
            passphrase.chmod(0o640)
        case "corrupt key":
            key.write_bytes(key.read_bytes()[:-40] + bytes(40))
        case "cut off key":
            key.write_bytes(key.read_bytes()[:60])


@pytest.mark.parametrize(
    ("how", "hint"),
    [
        ("wrong password", "the password does not open"),
        ("no passphrase", "put it back, or set DII_PASSWORD"),
        ("corrupt passphrase", "passphrase: it is damaged"),
        ("open to others", "bob.key: other users may read it; run chmod 600"),
        ("passphrase open to others", "passphrase: other users may read it; run chmod 600"),
        ("corrupt key", "bob.key: it is damaged"),
        ("cut off key", "bob.key: it is damaged"),
    ],
)
def test_a_key_that_cannot_be_opened_is_one_clear_line_and_nothing_is_lost(
    how: str, hint: str, sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kept() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (home / "keys").iterdir()}

    home = Path(shutil.copytree(sealed, tmp_path / "home"))
    send = ("transfer", "treasury", "1", "--from", "bob", "--home", home)
    whole = kept()
    spoiled(home, how)
    before = kept()
    with monkeypatch.context() as patch:
        if how == "wrong password":
            patch.setenv("DII_PASSWORD", "wrong")
        assert hint in refused(*send)
        if "pass" in how:  # no new one takes its place, nor a key that only it would open
            assert hint in refused("keys", "new", "eve", "--home", home)
    assert kept() == before
    for name, data in whole.items():
        (home / "keys" / name).write_bytes(data)
        (home / "keys" / name).chmod(0o600)
    dii(*send)


@pytest.mark.parametrize(
    ("spoil", "hint"),
    [
        (lambda key: key.unlink(), "the network key is gone: put back a copy"),
        (lambda key: key.write_bytes(key.read_bytes()[:40]), "20 bytes where a network key has 32"),
        (lambda key: key.write_bytes(b"\xff"), "it is damaged"),
        (lambda key: key.chmod(0o604), "other users may read it; run chmod 600"),
    ],
    ids=["gone", "cut off", "corrupt", "open to others"],
)
def test_no_other_network_key_takes_the_place_of_the_one_that_hashed_the_gateways(
    spoil: Callable[[Path], None], hint: str, sealed: Path, tmp_path: Path
) -> None:
    """Under another network key the same gateways would be new ones without an owner."""
    home = Path(shutil.copytree(sealed, tmp_path / "home"))
    key = home / "keys" / "network"
    whole = key.read_bytes()
    spoil(key)
    assert hint in refused("load", *SAMPLE, "--home", home)
    key.unlink(missing_ok=True)
    key.write_bytes(whole)
    key.chmod(0o600)
    dii("load", *SAMPLE, "--home", home)
    gateways = {row["hash"] for row in read("list", "gateways", "--home", home)}
    key.unlink()
    assert "the network key is gone" in refused("run", "--home", home)
    assert gateways == {row["hash"] for row in read("list", "gateways", "--home", home)}


REPORTED = ["online_ppm", "uplinks", "sole_uplinks", "shapley_uplinks"]


def test_a_scope_whose_reporter_has_lost_its_key_goes_on_with_another_of_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All from the command line, and no epoch stays unpaid."""
    home, words = tmp_path / "home", ("--home", tmp_path / "home")
    monkeypatch.setenv("DII_PASSWORD", "correct horse")
    dii("init", *words, "--delay", 3 * 86_400)
    dii("load", *SAMPLE, *words)
    dii("run", "--epochs", 1, *words)
    (home / "keys" / "reporter.key").rename(tmp_path / "lost")
    dii("keys", "new", "ann", *words)
    (tmp_path / "late.csv").write_text("gateway,operator\nlate,linden-lab\n")
    dii("load", tmp_path / "late.csv", *words)  # bound once somebody can
    assert not bound(home, "ttn:late")
    for verb in (["run", "--epochs", "1"], ["claim", "north-iot", "ann"]):
        assert "reports on scope main; that is for reporter" in refused(*verb, *words)
    assert "epoch 1 waits with 0 of 1 reports" in dii("status", *words).stdout
    metrics = [part for name in REPORTED for part in ("--metric", name)]
    dii("propose", "scope", "main", "--reporter", "ann", *metrics, *words)
    dii("vote", 0, "yes", *words)
    dii("run", *words)  # time passes, and with it the delay
    dii("run", *words)
    status = read("status", *words)
    assert status["epochs_settled"] == status["epochs_complete"] == 8
    dii("claim", "north-iot", "ann", *words)
    assert balances(home)["north-iot"] == 0
    assert balances(home)["ann"] > 0
    assert bound(home, "ttn:late")
    owners = {row["gateway"]: row["operator"] for row in read("list", "gateways", *words)}
    assert owners["ttn:late"] == "linden-lab"
    read("verify", *words)


def test_a_claim_that_too_few_reporters_know_of_is_not_called_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, words = tmp_path / "home", ("--home", tmp_path / "home")
    monkeypatch.setenv("DII_PASSWORD", "correct horse")
    dii("init", *words, "--reporters", 4, "--allocate", "bob=500")
    dii("load", *SAMPLE, *words)
    elsewhere = [home / "keys" / f"reporter-{number}.key" for number in (2, 3, 4)]
    for path in elsewhere:
        path.rename(tmp_path / path.name)
    assert "north-iot waits for other reporters" in dii("claim", "north-iot", "bob", *words).stdout
    assert read("show", "account", "north-iot", *words)["kind"] == "unused"
    (tmp_path / elsewhere[0].name).rename(elsewhere[0])
    assert "north-iot is claimed" in dii("claim", "north-iot", "bob", *words).stdout


def test_a_claimed_operators_money_arrives_and_can_be_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it with encrypted keys, one command after the other."""
    home, words = tmp_path / "home", ("--home", tmp_path / "home")
    monkeypatch.setenv("DII_PASSWORD", "correct horse")
    dii("init", *words, "--allocate", "bob=500")
    dii("load", *SAMPLE, *words)
    dii("run", "--epochs", 2, *words)
    assert not (home / "keys" / "passphrase").exists()
    waiting = read("show", "account", "north-iot", *words)
    assert (waiting["kind"], waiting["balance_uttc"] > 0) == ("claim", True)
    refused("transfer", "bob", "1", "--from", "north-iot", *words)  # nobody can, before the claim
    key = read("keys", "new", "ann", *words)
    dii("claim", "north-iot", "ann", *words)
    assert balances(home)["ann"] == waiting["balance_uttc"]
    assert balances(home)["north-iot"] == 0
    dii("transfer", "north-iot", "12.5", "--from", "bob", *words)  # to the old name
    dii("run", "--epochs", 1, *words)
    earned = [
        row["amount_uttc"]
        for row in read("show", "epoch", 2, *words)["issuance"]
        if row["operator"] == "ann"
    ]
    assert len(earned) == 7
    assert balances(home)["ann"] == waiting["balance_uttc"] + 12_500_000 + sum(earned)
    gateway = read("list", "gateways", *words)[0]["gateway"]
    assert read("receipt", gateway, 2, "--verify", *words)["verified"] is True
    dii("transfer", "bob", "100", "--from", "ann", *words)
    found = read("statement", "north-iot", "--month", "2025-03", *words)
    assert found["accounts"][0] == key["address"]
    assert found["closing"] == balances(home)["ann"]
    assert read("verify", *words)["height"] == read("status", *words)["height"]
