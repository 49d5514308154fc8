"""Tests of the repository as a whole: layers, imports, settings, forbidden words."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.lines import source_lines
from tests.wording import faults

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PYPROJECT["project"]["optional-dependencies"]

# The list of DESIGN, section 1, from the top down. Packages in one row do not know each other,
# save where one is named in NEIGHBOURS. Two places are finer than the list: genesis files name
# rules and policies and are checked against them, so genesis stands above minting; the schema
# imports nothing and is what ledger, genesis and minting share with telemetry.
LAYERS = (
    ("notebooks", "tui", "dii", "dii.cli", "dii.widgets", "dii.plots"),
    ("dii.network",),
    ("dii.testing",),
    ("dii.consensus", "dii.economy"),
    ("dii.application",),
    ("dii.genesis",),
    ("dii.minting", "dii.contracts"),
    ("dii.telemetry", "dii.ledger"),
    ("dii.crypto", "dii.codec", "dii.files", "dii.units", "dii.errors", "dii.schema"),
)
NEIGHBOURS = {LAYERS[0], LAYERS[-1]}
LEVEL = {package: len(LAYERS) - row for row, packages in enumerate(LAYERS) for package in packages}

# Beside the standard library: PyNaCl and typer with what they cannot do without.
LIGHT = {
    "dii", "nacl", "cffi", "_cffi_backend",
    "typer", "click", "shellingham", "typing_extensions", "annotated_doc",
}  # fmt: skip


def module_name(path: Path) -> str:
    """Return the dotted name of a file of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted((ROOT / "dii").rglob("*.py"))}


def package_of(module: str) -> str:
    """Return the longest name in ``LAYERS`` that a module is, or lies in."""
    while module not in LEVEL:
        module, dot, _ = module.rpartition(".")
        assert dot, f"{module} has no place in LAYERS"
    return module


def imported(module: str, path: Path) -> set[str]:
    """Return the modules of this repository that a file names, also in functions and for types."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        match node:
            case ast.Import(names):
                found.update(name.name for name in names)
            case ast.ImportFrom(base, names, level):
                inside = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
                parts = inside[: len(inside) - level + 1] if level else []
                base = ".".join([*parts, *([base] if base else [])])
                for name in names:
                    inner = f"{base}.{name.name}"
                    found.add(inner if inner in FILES else base)
    return {name for name in found if name.split(".")[0] in {"dii", "tui"}}


@pytest.mark.parametrize("module", FILES)
def test_imports_point_down_the_list_of_layers(module: str) -> None:
    own = package_of(module)
    row = next(row for row in LAYERS if own in row)
    for name in imported(module, FILES[module]):
        other = package_of(name)
        below = LEVEL[other] < LEVEL[own]
        beside = other == own or (other in row and row in NEIGHBOURS)
        assert below or beside, f"{module} imports {name}, which is not below it"


@pytest.mark.parametrize("module", ["dii", *(name for name in FILES if name.startswith("dii.cli"))])
def test_the_package_and_its_command_line_import_nothing_heavy(module: str) -> None:
    code = f"""if True:
        import sys
        before = set(sys.modules)
        import {module}
        print(*{{name.split(".")[0] for name in set(sys.modules) - before}})
    """
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert set(run.stdout.split()) - sys.stdlib_module_names <= LIGHT


def test_environment_yml_agrees_with_pyproject() -> None:
    *packages, pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert pip == {"pip": ["-e .[notebooks,tui]"]}
    decided = {*PYPROJECT["project"]["dependencies"], *EXTRAS["notebooks"], *EXTRAS["tui"]}
    decided |= {"pip", "python" + PYPROJECT["project"]["requires-python"]}
    assert set(packages) <= decided
    names = {re.split("[>=<]", package)[0] for package in packages}
    assert names >= {
        "jupyterlab", "ipywidgets", "textual", "pandas", "pycryptodome", "plotly", "nbval",
    }  # fmt: skip


def test_constraints_pin_every_declared_dependency() -> None:
    declared = {
        re.split(r"[\[>=<]", requirement)[0].lower().replace("_", "-")
        for requirements in (PYPROJECT["project"]["dependencies"], *EXTRAS.values())
        for requirement in requirements
    }
    assert declared - {"dii"} <= set(pinned())


def pinned() -> dict[str, str]:
    """Return the version of each package in constraints.txt."""
    return dict(
        re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    )


def test_pre_commit_runs_the_versions_that_make_lint_runs() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    revisions = {repo["repo"].rpartition("/")[2]: repo.get("rev", "").lstrip("v") for repo in hooks}
    versions = pinned()
    assert revisions["ruff-pre-commit"] == versions["ruff"]
    assert revisions["mirrors-mypy"] == versions["mypy"]
    assert revisions["nbstripout"] == versions["nbstripout"]


def test_the_scientific_python_checks_of_a_repository_pass() -> None:
    command = [sys.executable, "-m", "repo_review", "--format", "json", "."]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    checks = json.loads(run.stdout)["checks"]
    failed = {name for name, check in checks.items() if check["result"] is False}
    assert len(checks) > 30
    assert not failed
    assert run.returncode == 0


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout


def test_commit_subjects_have_at_most_72_characters() -> None:
    """Check all commits since the rule; the ``commit-msg`` hook of pre-commit does so earlier."""
    *_, first = git("log", "--diff-filter=A", "--format=%H", "--", "tests/wording.py").split()
    subjects = git("log", "--no-merges", "--format=%s", f"{first}^..HEAD").splitlines()
    assert subjects
    assert [subject for subject in subjects if len(subject) > 72] == []


@pytest.mark.parametrize("start", ["What", "Whether"])
def test_docstrings_that_begin_with_a_question_word_are_found(start: str, tmp_path: Path) -> None:
    text = (
        f'"""Noun phrase."""\n\nX = 1\n"""{start} it is."""\n\n\ndef f():\n    """Imperative."""\n'
    )
    (tmp_path / "example.py").write_text(text)
    (found,) = faults(tmp_path / "example.py")
    assert found.startswith(f"{tmp_path / 'example.py'}:4: ")
    assert found.endswith(f"{start} it is.")


@pytest.mark.parametrize(
    "pattern",
    [
        r"(pypi|pythonhosted|npmjs|crates|golang|maven|debian)\.(org|com|io)",
        r"(^|[^[:alnum:]_.])/(work|farm|root|Users|tmp/bash_jobs)/",
    ],
    ids=["registry hosts", "machine paths"],
)
def test_no_tracked_file_names(pattern: str) -> None:
    command = ["git", "grep", "-nIE", pattern]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (1, ""), run.stderr


def test_notebooks_are_saved_as_nbval_compares_them() -> None:
    """Cells without a count are passed over by nbval; widget state is megabytes."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        notebook = json.loads(path.read_text())
        assert "widgets" not in notebook["metadata"], path.name
        assert notebook["metadata"]["kernelspec"]["name"] == "python3", path.name
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code" and "".join(cell["source"]).strip():
                assert cell["execution_count"], (path.name, cell["source"])


def test_source_lines_leave_out_blanks_comments_and_docstrings(tmp_path: Path) -> None:
    (tmp_path / "example.py").write_text(
        '"""Three\n\nlines."""\n\n# comment\nX = """two\nlines"""  # and a comment\n"""of X"""\n\n'
        'def f(  # one\n    a,\n):\n    "what it does"\n\n    return (\n        a\n    )\n'
    )
    assert source_lines(tmp_path / "example.py") == 8
