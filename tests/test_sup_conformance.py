"""Every line of the supervision spec has a test with its number, and their table is true (INV-41)."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

TESTS = Path(__file__).parent
LINES = range(1, 26)
ROW = re.compile(r"^\| SUP-(\d+) (.+?) \| (.+?) \|$", re.MULTILINE)


def named() -> dict[int, set[str]]:
    """The modules that test each line."""
    found: dict[int, set[str]] = defaultdict(set)
    for path in TESTS.glob("test_*.py"):
        for number in re.findall(r"^(?:async )?def test_sup_(\d+)_", path.read_text(encoding="utf-8"), re.M):
            found[int(number)].add(path.name)
    return found


def test_every_line_of_the_spec_has_a_test() -> None:
    assert sorted(named()) == list(LINES)


def test_the_table_in_the_readme_names_each_line_and_the_modules_that_test_it() -> None:
    rows = ROW.findall((TESTS / "README.md").read_text(encoding="utf-8"))
    told = {int(number): set(re.findall(r"`(.+?)`", modules)) for number, _, modules in rows}
    assert [int(number) for number, _, _ in rows] == list(LINES)
    assert told == named()
