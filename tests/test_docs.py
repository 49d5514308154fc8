"""Tests of README and documents: commands run, outputs are real, names and links exist."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dii import Network, load
from dii.errors import UnknownName
from dii.schema import METRICS
from dii.telemetry.formats import READERS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
ARCHITECTURE = ROOT / "ARCHITECTURE.md"
DOCUMENTS = [README, ARCHITECTURE, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of README that are in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def matches(shown: str, real: str) -> re.Match[str] | None:
    """Compare an excerpt with an output: ``…`` in a line leaves out text, alone in one lines."""
    lines = [
        r"(?:.*\n)*?" if line.strip() == "…" else re.escape(line).replace("…", ".*") + r" *\n"
        for line in shown.splitlines()
    ]
    return re.fullmatch("".join(lines), real)


def test_an_excerpt_matches_what_it_is_an_excerpt_of_and_nothing_else() -> None:
    real = "one 1234 \ntwo\nthree\nfour\n"
    assert matches("one 12…\n…\nfour\n", real)
    assert matches("one 1234\ntwo\n…\n", real)
    for other in ("one 13…\n…\n", "one 1234\n", "two\n…\n", "one 1234\nthree\n…\n", "…\nfive\n"):
        assert not matches(other, real)


def test_the_readmes_python_prints_what_the_readme_says() -> None:
    (code,) = blocks("python")
    shown = next(block for block in blocks("text") if "True\n" in block)
    output = io.StringIO()
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(output), contextlib.chdir(ROOT):
        exec(compile(code, "README.md", "exec"), names)
    names["net"].close()
    assert matches(shown, output.getvalue()), output.getvalue()


def test_the_notebook_takes_the_readmes_steps_in_their_order() -> None:
    notebook = json.loads((ROOT / "notebooks" / "00_quickstart.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    done = iter(ast.unparse(step) for step in ast.parse("\n".join(cells)).body)
    (code,) = blocks("python")
    steps = [ast.unparse(step) for step in ast.parse(code).body]
    # Notebooks lie in a folder beside data/, and show a table where a script prints it.
    taken = [step.replace("'data/", "'../data/") for step in steps if "print" not in step]
    taken.remove("data.rejects")
    assert len(taken) == 8
    for step in taken:
        assert step in done, f"missing, or not in this place: {step}"


def test_the_readmes_commands_print_what_the_readme_says(tmp_path: Path) -> None:
    """One after another in one folder; ``…`` in one stands for the hash that was printed last."""
    (tmp_path / "data").symlink_to(ROOT / "data")
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    printed = ""
    steps = [step for block in blocks("console") for step in block.split("$ ")[1:]]
    for step in steps:
        command, shown = step.split("\n", 1)
        if "…" in command:
            command = command.replace("…", re.findall(r"\b[0-9a-f]{64}\b", printed)[-1])
        run = subprocess.run(
            shlex.split(command),
            cwd=tmp_path,
            env={"PATH": programs},
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stderr
        assert matches(shown, run.stdout), f"$ {command}\n{run.stdout}"
        printed += run.stdout
    assert len(steps) >= 5


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    text = document.read_text()
    titles = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    for link in re.findall(r"\]\(([^)]+)\)", text):
        path, _, title = link.partition("#")
        if path.startswith("https://"):
            continue
        assert (document.parent / path).exists(), link
        assert path or title in titles, link


def test_every_target_of_make_in_the_readme_exists() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"make ([a-z]+)", "".join(blocks("sh")))) == {"demo", "test"}
    assert set(re.findall(r"`make ([a-z]+)`", README.read_text())) <= set(targets)


def test_every_test_that_holds_an_invariant_exists() -> None:
    named = re.findall(r"`(test_\w+\.py::\w+)`", ARCHITECTURE.read_text())
    defined = set()
    for path in (ROOT / "tests").glob("test_*.py"):
        for node in ast.parse(path.read_bytes()).body:
            match node:
                case ast.FunctionDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
                    defined.add(f"{path.name}::{name}")
    assert len(named) > 60
    assert set(named) <= defined, sorted(set(named) - defined)


def test_every_invariant_is_numbered_and_held_by_a_test() -> None:
    (section,) = re.findall(
        r"^## Invariants$(.*?)^## ", ARCHITECTURE.read_text(), re.MULTILINE | re.DOTALL
    )
    invariants = re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |\Z)", section, re.MULTILINE | re.DOTALL)
    assert [int(number) for number, _ in invariants] == list(range(1, len(invariants) + 1))
    for number, text in invariants:
        assert re.search(r"`test_\w+\.py::\w+`", text), number


def test_architecture_has_a_paragraph_for_every_package() -> None:
    described = set(re.findall(r"^\*\*`dii\.(\w+)`\*\*", ARCHITECTURE.read_text(), re.MULTILINE))
    modules = {path.stem for path in (ROOT / "dii").glob("*.py")} - {"__init__", "__main__"}
    assert described == modules | {
        path.parent.name for path in (ROOT / "dii").glob("*/__init__.py")
    }


def test_the_formats_are_the_readers() -> None:
    table = (ROOT / "docs" / "formats.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z0-9-]+)` \|.*\| (.*) \|$", table, re.MULTILINE))
    assert list(rows) == [reader.name for reader in READERS]
    for reader in READERS:
        given = [name for name in METRICS if name in reader.gives]
        assert re.findall(r"`(\w+)`", rows[reader.name]) == given, reader.name


# --- docs/privacy.md -----------------------------------------------------------------------------

OPERATOR, GATEWAY = "ember-energy", "58A0CBFFFE080C9C"


@pytest.fixture
def sample_home(tmp_path: Path) -> Path:
    """A network's home on disk, two epochs of the sample settled."""
    sample = [ROOT / "data" / name for name in ("registry.json", "uplinks.jsonl", "statuses.csv")]
    balances = {"bob-the-builder": "500 TTC"}
    with Network.create(home=tmp_path / "home", seed=7, allocations=balances) as network:
        network.ingest(load(*sample))
        network.run(epochs=2)
        network.transfer("bob-the-builder", OPERATOR, "1 TTC")
    return tmp_path / "home"


def test_names_stand_where_privacy_says_and_nowhere_else(sample_home: Path) -> None:
    with Network.open(sample_home, readonly=True) as network:
        operators = set(network.operators()["operator"]) - {"treasury"}
        gateways = set(network.gateways()["gateway"])
    names = {name.encode() for name in operators | gateways} | {b"bob-the-builder"}
    names |= {bytes.fromhex(name) for name in gateways if len(name) == 16}
    text = (ROOT / "docs" / "privacy.md").read_text()
    assert len(names) > 60
    for path in filter(Path.is_file, sample_home.rglob("*")):
        top = re.sub(r"-(wal|shm)$", "", path.relative_to(sample_home).parts[0])  # SQLite's own
        assert f"`{top}`" in text or f"`{top}/`" in text or top == "chain.lock", top
        if top not in {"names.sqlite", "telemetry"}:
            data = path.read_bytes()
            assert not [name for name in names if name in data], path


def test_erasing_names_as_privacy_says_takes_nothing_from_the_chain(sample_home: Path) -> None:
    (code,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "privacy.md").read_text(), re.DOTALL
    )
    with Network.open(sample_home) as network:
        hashed = network.home.gateway(GATEWAY).hex()
        before = network.receipt(GATEWAY, epoch=1)
        exec(code, {"net": network})
    shutil.rmtree(sample_home / "telemetry")
    with Network.open(sample_home) as network:
        assert OPERATOR not in set(network.operators()["operator"])
        with pytest.raises(UnknownName):
            network.receipt(GATEWAY, epoch=1)
        after = network.receipt(hashed, epoch=1)
        assert (after.gateway, after.leaf) == (hashed, before.leaf)
        assert after.verify(network.header())
        assert network.verify().height == network.height
        assert network.run().settled == 2
