"""Count source lines: those that are left without blanks, comments and docstrings.

``python tests/lines.py dii tui`` prints a line per package and the total.
"""

from __future__ import annotations

import ast
import sys
import tokenize
from collections import Counter
from pathlib import Path

LAYOUT = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}


def source_lines(path: Path) -> int:
    """Return the number of lines of a file that hold code.

    A string that is a statement of its own is documentation, in any place.
    """
    with path.open("rb") as file:
        code = {
            line
            for token in tokenize.tokenize(file.readline)
            if token.type not in LAYOUT
            for line in range(token.start[0], token.end[0] + 1)
        }
    for node in ast.walk(ast.parse(path.read_bytes())):
        match node:
            case ast.Expr(ast.Constant(str())):
                code.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(code)


def count(folder: Path) -> Counter[str]:
    """Return the source lines by package: the folder itself, and each folder in it."""
    lines: Counter[str] = Counter()
    for path in sorted(folder.rglob("*.py")):
        inside = path.relative_to(folder).parts
        lines["/".join([folder.name, *inside[:1]] if len(inside) > 1 else [folder.name])] += (
            source_lines(path)
        )
    return lines


if __name__ == "__main__":
    total = sum((count(Path(name)) for name in sys.argv[1:]), Counter[str]())
    for package, lines in sorted(total.items()):
        print(f"{package:<24}{lines:>8,}")
    print(f"{'total':<24}{total.total():>8,}")
