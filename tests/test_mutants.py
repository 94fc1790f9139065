"""The mutants of the trade core still are what they were: one mistake each, in lines that exist."""

from __future__ import annotations

import ast

import pytest

from tests.mutants import MACHINE, NAMED, ROOT, hunks, mutated, patches

README = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [patch.stem for patch in patches()])
def test_a_mutant_applies_to_the_core_and_its_result_is_in_the_table(name: str) -> None:
    (patch,) = (patch for patch in patches() if patch.stem == name)
    for path, text in mutated(patch.read_text(encoding="utf-8"), ROOT).items():
        assert path.startswith("protocol/")
        assert text != (ROOT / path).read_text(encoding="utf-8")
        ast.parse(text)
    assert f"| {name} |" in README


def test_a_patch_that_does_not_apply_is_refused() -> None:
    patch = "--- a/protocol/order.py\n+++ b/protocol/order.py\n@@ -1,1 +1,1 @@\n-not a line of it\n+another\n"
    assert [hunk.path for hunk in hunks(patch)] == ["protocol/order.py"]
    with pytest.raises(ValueError, match="found 0 times"):
        mutated(patch, ROOT)


def test_the_tests_that_hunt_mutants_exist() -> None:
    assert [name for name in (*NAMED, MACHINE) if not (ROOT / name).exists()] == []
