"""The command line: help, usage and errors of one line."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from dii import Network
from dii.cli import app
from tests.cli import VERBS, dii, read, refused

HOMELESS = {("proof", "check"), ("synth",), ("contract", "check"), ("contract", "agreements")}


# --- help and usage ------------------------------------------------------------------------------


def commands(
    group: Any = None, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command with its words."""
    group = get_command(app) if group is None else group
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(commands())


def test_help_names_every_verb() -> None:
    lines = dii("--help").stdout.partition("Commands:")[2].split("\n")
    assert {line.split()[0] for line in lines if line.strip()} == set(VERBS)


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_command_explains_itself_and_speaks_json(words: tuple[str, ...]) -> None:
    text = dii(*words, "--help").stdout
    assert "--json" in text
    assert ("--home" in text) is (words not in HOMELESS)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("verfy", "Did you mean"),
        ("receipt x", "Missing argument"),
        ("receipt x first", "integer"),
        ("receipt x -1", "No such option"),
        ("list everything", "transactions"),
        ("run --epochs 0", "greater than or equal to 1"),
        ("transfer bob 5", "--from"),
        ("init --rule Rain", "ShapleyTraffic"),
        ("init --rule Uptime:minimum=5", "minimum_ppm"),
        ("init --rule Uptime:minimum_ppm=most", "integer"),
        ("init --policy FixedEmission", "amount"),
        ("init --policy FixedEmission:amount", "amount="),
        ("init --allocate bob", "bob=500"),
        ("init --allocate bob=1 --allocate bob=2", "bob is given twice"),
        ("init --reporters 0", "greater than or equal to 1"),
        ("load x.csv --columns a", "lat=latitude"),
        ("proof make receipt x", "--epoch"),
        ("proof make account x --epoch 3", "--epoch"),
        ("proof check x --header 12", "64 hex digits"),
        ("proof check x --header zz", "64 hex digits"),
    ],
)
def test_wrong_usage_is_explained_and_exits_with_2(line: str, hint: str, tmp_path: Path) -> None:
    words = shlex.split(line)
    where = [] if words[:2] == ["proof", "check"] else ["--home", tmp_path / "home"]
    result = dii(*words, *(where if words[0] != "verfy" else []), code=2)
    assert hint in result.stderr
    assert not (tmp_path / "home").exists()


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "status", "list epochs", "run", "verify", "rebuild", "transfer a 5 --from b", "keys list",
        "receipt x 0", "proof make account bob",
    ],
)  # fmt: skip
def test_a_missing_network_is_an_error_that_says_how_to_make_one(line: str, tmp_path: Path) -> None:
    assert "dii init --home" in refused(*shlex.split(line), "--home", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("receipt nowhere 0", "no gateway goes by 'nowhere'"),
        ("receipt nowhere 99", "epoch 99 is not settled"),
        ("receipt nowhere 1 --stream nope", "no stream goes by 'nope', but main"),
        ("show epoch 8", "epoch 8 is not settled; the number of settled epochs is 8"),
        ("show block 99999", "no block goes by '99999'"),
        ("show tx ffff", "no transaction goes by 'ffff'"),
        ("show account nobody", "no account goes by 'nobody'"),
        ("show account dii1qqqq", "not an address"),
        ("proof make gateway nowhere", "no gateway goes by 'nowhere'"),
        ("transfer bob 5 --from nobody", "no key for nobody"),
        ("transfer nobody 5 --from bob", "no account goes by 'nobody'"),
        ("transfer treasury 9999 --from bob", "Transfer refused"),
        ("transfer treasury 5 --from validator", "has 0 TTC, but"),  # not even the fee
        ("transfer treasury 5.1234567 --from bob", "6 decimals"),
        ("transfer treasury '5 EUR' --from bob", "the currency here is TTC"),
        ("transfer treasury five --from bob", "cannot read 'five'"),
        ("transfer treasury 0 --from bob", "zero"),
        ("burn 501 --from bob", "Burn refused"),
        ("claim nobody bob", "no operator goes by 'nobody'"),
        ("assign nowhere bob --from bob", "no gateway goes by 'nowhere'"),
        ("keys show nobody", "no key for nobody"),
        ("keys new bob", "called 'bob' already"),
        ("keys new treasury", "called 'treasury' already"),
        ("keys new north-iot", "called 'north-iot' already"),
        ("keys new ../bob", "cannot name an account"),
        ("keys import eve nowhere.json", "laboratory"),
        ("init", "already holds a network"),
        ("run --receptions nowhere.jsonl", "nowhere.jsonl: no such file"),
        ("list epochs --parquet nowhere/at/all.parquet", "nowhere"),
    ],
)
def test_an_impossible_request_is_one_line_and_exits_with_1(
    line: str, hint: str, copy: Path
) -> None:
    before = read("status", "--home", copy)
    message = refused(*shlex.split(line), "--home", copy)
    assert hint in message
    if "refused" not in message:  # what the chain refuses stands in a block, and costs a fee
        assert read("status", "--home", copy) == before


def test_a_defect_shows_its_traceback(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Network, "summary", broken)
    with pytest.raises(ZeroDivisionError):
        dii("status", "--home", home)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("Query interrupted")])
def test_an_interrupt_is_one_line_and_exits_with_130(
    error: BaseException, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise error

    monkeypatch.setattr(Network, "summary", interrupted)
    stopped = dii("status", "--home", home, code=130)
    assert stopped.stderr == "dii: interrupted; what was committed is kept\n"


def test_a_second_writer_is_refused_and_readers_are_not(home: Path, top: str) -> None:
    with Network.open(home):
        for line in ("status", "list blocks", f"receipt {top} 2 --verify", "verify"):
            dii(*line.split(), "--home", home)
        for line in ("run", "rebuild", "burn 1 --from bob"):
            assert "another process" in refused(*line.split(), "--home", home)


def test_a_run_over_damaged_telemetry_leaves_no_lock(copy: Path) -> None:
    (copy / "telemetry" / "telemetry.json").write_text("{")
    failed = dii("run", "--home", copy, code=1)  # keeps all that its traceback refers to
    assert "telemetry.json" in failed.stderr
    Network.open(copy).close()
