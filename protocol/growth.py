"""A mapping that only grows, for states that are values: adding to it costs the same however large it is.

A copy for each addition makes the replay of a long journal quadratic: twelve thousand executions copied
twelve thousand times. Here all versions share one dict, which holds each entry with its number, and each
version knows how many of them are its own. Whoever adds to the newest version appends; whoever adds to an
older one, or replaces, gets a copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Growth(Mapping[K, V]):
    """Immutable for all who look at it, in the order in which keys were added. Begin with `Growth()`."""

    __slots__ = ("_length", "_shared")

    def __init__(self, entries: Mapping[K, V] | None = None) -> None:
        numbered = enumerate({} if entries is None else entries.items())
        self._shared: dict[K, tuple[int, V]] = {key: (number, value) for number, (key, value) in numbered}
        self._length = len(self._shared)

    def adding(self, key: K, value: V) -> Growth[K, V]:
        """The mapping with this entry. A key that is there keeps its place and gets the new value."""
        shared, length = self._shared, self._length
        replaces = key in self
        if replaces or length < len(shared):
            shared = dict(islice(shared.items(), length))
        shared[key] = (shared[key][0] if replaces else length, value)
        grown = Growth[K, V]()
        grown._shared, grown._length = shared, len(shared)
        return grown

    def __getitem__(self, key: K) -> V:
        number, value = self._shared[key]
        if number >= self._length:
            raise KeyError(key)  # a later version's
        return value

    def __iter__(self) -> Iterator[K]:
        # A copy of the keys: a later version may grow while this one is walked through.
        return iter(list(islice(self._shared, self._length)))

    def __len__(self) -> int:
        return self._length

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Growth) and other._shared is self._shared:
            return other._length == self._length
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Growth({dict(self)!r})"
