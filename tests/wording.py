"""Refuse docstrings that begin with a question word: ``python tests/wording.py FOLDER...``.

The first line of a docstring is a noun phrase (module, class, constant) or an imperative
(function), so that a reader learns first what the thing is.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

QUESTION = re.compile(r"(What|Who|Whose|Whom|Which|Where|When|Why|How|Whether)\b")


def faults(path: Path) -> Iterator[str]:
    """Return each docstring of a file that begins with a question word, as ``file:line: text``."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))) if QUESTION.match(text.lstrip()):
                first = text.lstrip().split("\n")[0]
                yield f"{path}:{node.lineno}: begin with a noun or an imperative: {first}"


if __name__ == "__main__":
    found = [
        fault
        for folder in sys.argv[1:]
        for path in sorted(Path(folder).rglob("*.py"))
        for fault in faults(path)
    ]
    sys.exit("\n".join(found) or 0)
