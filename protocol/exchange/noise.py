"""Repeatable noise with random access: the numbers of a named stream, on any machine, in any order.

A stream is named by words (`7|SLV|day|739274`); its numbers come from SHAKE-128 of the name. They depend
on nothing else: not on Python's hash seed, nor on what was asked before.
"""

from __future__ import annotations

from hashlib import shake_128
from math import sqrt
from struct import unpack
from typing import Final

WORD: Final = 1 << 16
"""Words are even over 0 to 65535."""
WORD_DEVIATION: Final = WORD / sqrt(12)
"""The standard deviation of a word."""


def words(count: int, name: str) -> tuple[int, ...]:
    return unpack(f"<{count}H", shake_128(name.encode()).digest(2 * count))


def uniforms(count: int, name: str) -> list[float]:
    """`count` numbers, even over 0 (included) to 1 (excluded)."""
    return [word / WORD for word in words(count, name)]


def shocks(count: int, name: str) -> list[float]:
    """`count` numbers of mean 0 and variance 1, none beyond ±1.74: what a walk is made of."""
    return [(word - (WORD - 1) / 2) / WORD_DEVIATION for word in words(count, name)]
