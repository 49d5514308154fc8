"""Faults of a contract: message, place, and a hint at what to write instead.

Front end and compiler collect faults rather than stop at the first, so that one check of a text
lists all of them. A fault has no source: trees that come from a chain have none, and callers that
have the text render it beside the fault.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dii.contracts.tree import Position

SHOWN: Final = 50
"""Faults that a rendering lists before it counts the others."""
WIDTH: Final = 100
"""Columns of a source line that are shown, around the fault."""
UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories of characters that are invisible or reorder others."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A reason for which a text or a tree is not a contract.

    Attributes
    ----------
    message
        The fault.
    hint
        What to write instead; empty if the message says it.
    at
        Its place, if the tree came from a text.
    """

    message: str
    hint: str = ""
    at: Position | None = None


def unsafe(character: str) -> bool:
    """Tell whether a character is invisible or reorders others on screen."""
    return unicodedata.category(character) in UNSAFE


def render(faults: Sequence[Fault], source: str = "") -> str:
    """Return faults as text, each with its line of the source, a caret and its hint.

    Columns are counted from 1, as editors do. Without a source only places are named. Control
    characters are shown as the replacement character.
    """
    lines = source.split("\n")
    texts = [_one(fault, lines) for fault in faults[:SHOWN]]
    if len(faults) > SHOWN:
        texts.append(f"and {len(faults) - SHOWN} more")
    return "\n".join(texts)


def _one(fault: Fault, lines: list[str]) -> str:
    at, hint = fault.at, f"\n  instead: {fault.hint}" * bool(fault.hint)
    if at is None:
        return fault.message + hint
    text = f"line {at.line}, column {at.column + 1}: {fault.message}"
    line = lines[at.line - 1] if at.line <= len(lines) else ""
    if line.strip():
        end = at.end_column if at.end_line == at.line else len(line)
        start = max(0, at.column - WIDTH // 2)
        shown = "".join("\ufffd" if unsafe(c) and c != "\t" else c for c in line)
        shown = shown.replace("\t", " ")[start : start + WIDTH]
        length = max(1, min(end, len(line), start + WIDTH) - at.column)
        text += f"\n{at.line:>5} | {shown}\n      | {' ' * (at.column - start)}{'^' * length}"
    return text + hint
