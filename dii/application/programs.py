"""Compiled programs in memory: a block compiles a tree once, and pays for it once.

Compiling a tree takes forty times as long as looking it up, and a node that has just started must
compile what others have in memory from the blocks before. If a call paid for the look-up only,
somebody who deployed more contracts than memory holds could have each of them compiled at every
call: a block of such calls took minutes. So the first call of a tree in a block pays for its
compilation, and the program is kept to the block's end; beyond ``MAX_LOADED`` trees each call pays.
Programs that a node keeps from block to block save it time and change nothing else.
"""

from __future__ import annotations

import functools
from typing import Final

from dii.contracts import compiler, tree
from dii.contracts.gas import compile_gas
from dii.contracts.vm import Program

LOAD_BYTE: Final = 1
"""Gas of a byte of a tree that the block has compiled already."""
MAX_LOADED: Final = 64
"""Programs that a block keeps; a few megabytes each at most."""


@functools.lru_cache(maxsize=MAX_LOADED)
def program(code: bytes) -> Program:
    """Return a tree's program.

    Raises
    ------
    BadContract, BadProgram
        The bytes are no tree, or break the rules of the language.
    """
    return compiler.compile(tree.decode(code))


class Loaded:
    """Programs that one block has run, including those of failed transactions."""

    __slots__ = ("_programs",)

    def __init__(self) -> None:
        self._programs: dict[bytes, Program] = {}

    def gas(self, code: bytes) -> int:
        """Return the gas of loading a tree; due before :meth:`load`."""
        known = code in self._programs
        return LOAD_BYTE * len(code) if known else compile_gas(len(code))

    def load(self, code: bytes) -> Program:
        """Return a tree's program; errors as of :func:`program`."""
        loaded = self._programs.get(code) or program(code)
        if len(self._programs) < MAX_LOADED:
            self._programs[code] = loaded
        return loaded
