"""The command line for tests: commands in this process, and in processes of their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from dii.cli import app
from tests.require import ROOT, SAMPLE

VERBS = [
    "init", "load", "run", "status", "list", "show", "receipt", "proof", "verify", "rebuild",
    "snapshot", "transfer", "burn", "assign", "claim", "propose", "vote", "contract", "statement",
    "keys", "lab", "synth",
]  # fmt: skip


PROGRAM = [sys.executable, "-c", "from dii.cli import main; main()"]


def dii(*words: object, code: int = 0, typed: str | None = None) -> Result:
    """Run a command in this process."""
    result = CliRunner().invoke(app, [str(word) for word in words], input=typed)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def read(*words: object) -> Any:
    """Run a command and return its JSON document."""
    return json.loads(dii(*words, "--json").stdout)


def refused(*words: object) -> str:
    """Run a command that has to fail, and return its one line."""
    result = dii(*words, code=1)
    assert result.stdout == ""
    assert re.fullmatch(r"dii: [^\n]+\n", result.stderr), result.stderr
    return result.stderr


def make(home: Path, *options: object) -> Path:
    """Make a laboratory network of the sample."""
    dii("init", "--home", home, "--seed", 7, "--allocate", "bob=500", *options)
    dii("load", *SAMPLE, "--home", home)
    return home


def output(*words: object, code: int = 0) -> str:
    """Run a command and return its output, which may be an error."""
    result = dii(*words, code=code)
    return result.stdout or result.stderr


def script(*words: object, **options: Any) -> subprocess.Popen[str]:
    """Start ``dii`` as a process of its own."""
    return subprocess.Popen([*PROGRAM, *map(str, words)], cwd=ROOT, text=True, **options)


def piped(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``dii`` as a process of its own, in a pipe."""
    return subprocess.run(
        [*PROGRAM, *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, env=os.environ | environment, check=False,
    )  # fmt: skip
