"""The command line on terminals and in pipes."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

from dii import Network
from tests.cli import script


def on_terminal(*words: object, **environment: str) -> str:
    """Run ``dii`` on a terminal of its own and return all that it shows."""
    ours, theirs = pty.openpty()
    fresh = {name: os.environ[name] for name in os.environ if name not in {"NO_COLOR", "COLUMNS"}}
    environment = fresh | {"TERM": "xterm-256color", "COLUMNS": "100"} | environment
    process = script(*words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 1 << 16):
            shown += part
    except OSError:  # how Linux says that the other side is closed
        pass
    os.close(ours)
    assert process.wait() == 0, shown
    return shown.decode()


COLOUR = re.compile(r"\x1b\[[0-9;]*3[0-9][0-9;]*m")


def test_a_terminal_gets_colours_and_progress(home: Path) -> None:
    shown = on_terminal("verify", "--home", home)
    assert "executing blocks" in shown
    assert COLOUR.search(on_terminal("status", "--home", home))


def test_no_color_is_obeyed(home: Path) -> None:
    shown = on_terminal("status", "--home", home, NO_COLOR="1")
    assert "ShapleyTraffic" in shown
    assert not COLOUR.search(shown)


def test_tables_fit_a_terminal_and_lose_no_digit(home: Path, network: Network) -> None:
    shown = on_terminal("list", "accounts", "--home", home, COLUMNS="60", NO_COLOR="1")
    lines = [line for line in shown.split("\r\n") if not line.startswith("\x1b")]
    assert max(map(len, lines)) <= 60
    assert all(f"{value / 10**6:,.6f}" in shown for value in network.accounts()["balance_uttc"])


def test_columns_without_room_on_a_narrow_terminal_are_named(home: Path, network: Network) -> None:
    shown = on_terminal("list", "epochs", "--home", home, COLUMNS="60", NO_COLOR="1")
    assert "no room for paid TTC, unminted TTC, height" in shown
    assert all(f"{value / 10**6:,.6f}" in shown for value in network.epochs()["pool_uttc"])
    shown = on_terminal("list", "accounts", "--home", home, COLUMNS="200", NO_COLOR="1")
    assert "no room" not in shown
    assert all(address in shown for address in network.accounts()["address"])


def test_a_pipe_gets_neither_colours_nor_progress(home: Path) -> None:
    process = script(
        "verify", "--home", home, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"TERM": "xterm-256color"},
    )  # fmt: skip
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "\x1b" not in out


def test_a_reader_who_has_had_enough_is_no_error(home: Path) -> None:
    enough, pipe = os.pipe()
    os.close(enough)
    process = script("list", "blocks", "--home", home, stdout=pipe, stderr=subprocess.PIPE)
    os.close(pipe)
    assert process.communicate()[1] == ""
    assert process.returncode == 1


def test_a_terminal_of_few_letters_shows_what_it_can(home: Path) -> None:
    process = script(
        "list", "operators", "--home", home, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )  # fmt: skip
    out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert "north-iot" in out
