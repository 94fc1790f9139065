"""A mapping that grows: for everybody who looks, each version is a value of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.growth import Growth

ENTRIES = st.lists(st.tuples(st.integers(0, 5), st.sampled_from("abc"), st.integers(0, 30)), max_size=30)


@given(ENTRIES)
def test_every_version_is_what_a_copy_would_have_been(steps: list[tuple[int, str, int]]) -> None:
    versions: list[tuple[Growth[str, int], dict[str, int]]] = [(Growth(), {})]
    for back, key, value in steps:
        grown, copied = versions[-1 - back % len(versions)]
        versions.append((grown.adding(f"{key}{value % 4}", value), {**copied, f"{key}{value % 4}": value}))
    for grown, copied in versions:
        assert grown == copied
        assert list(grown.items()) == list(copied.items())  # the order of arrival, too
        assert len(grown) == len(copied)
        assert all(key in grown for key in copied)
    # Of what a later version has added, an earlier one knows nothing.
    first = versions[0][0]
    assert list(first) == []
    assert "a0" not in first
    with pytest.raises(KeyError):
        first["a0"]


@given(ENTRIES)
def test_versions_are_equal_when_their_entries_are_however_they_came_about(
    steps: list[tuple[int, str, int]],
) -> None:
    one: Growth[str, int] = Growth()
    for _, key, value in steps:
        one = one.adding(key, value)
    again = Growth(dict(one))
    assert one == again
    assert one.adding("z", 1) != again
    assert one.adding("z", 1) == again.adding("z", 1)
    assert one != again.adding("z", 1)


def test_a_version_may_be_walked_through_while_a_later_one_grows() -> None:
    growing = Growth({"a": 1, "b": 2})
    seen = []
    for key in growing:
        growing.adding(f"{key}{key}", 3)
        seen.append(key)
    assert seen == ["a", "b"]


def test_adding_copies_nothing_as_long_as_the_newest_version_grows() -> None:
    newest: Growth[int, None] = Growth()
    for number in range(1000):
        grown = newest.adding(number, None)
        assert grown._shared is newest._shared
        newest = grown
    assert newest.adding(5, None)._shared is not newest._shared  # a replacement is a copy
    assert len(newest) == 1000
