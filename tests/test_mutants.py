"""The mutants still are what they were: one mistake each, in lines that exist, with a line in the table."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests import chaos_mutants
from tests.chaos_mutants import HANGS, Find, Outcome, Sound, hunt, known, read_results, row, table
from tests.mutants import MACHINE, NAMED, patches
from tests.patches import ROOT, applied, copy_tree, hunks, mutated, patches_in

README = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
IN_CHAOS = patches_in(chaos_mutants.PATCHES)


@pytest.mark.parametrize("name", [patch.stem for patch in patches()])
def test_a_mutant_applies_to_the_core_and_its_result_is_in_the_table(name: str) -> None:
    (patch,) = (patch for patch in patches() if patch.stem == name)
    for path, text in mutated(patch.read_text(encoding="utf-8"), ROOT).items():
        assert path.startswith("protocol/")
        assert text != (ROOT / path).read_text(encoding="utf-8")
        ast.parse(text)
    assert f"| {name} |" in README


@pytest.mark.parametrize("name", [patch.stem for patch in IN_CHAOS])
def test_a_mutant_of_the_fault_runs_applies_to_the_product_and_its_result_is_in_the_table(name: str) -> None:
    (patch,) = (patch for patch in IN_CHAOS if patch.stem == name)
    for path, text in mutated(patch.read_text(encoding="utf-8"), ROOT).items():
        assert path.startswith(("protocol/", "actors/"))
        assert not path.startswith(("protocol/chaos/", "protocol/exchange/", "actors/chaos"))
        ast.parse(text)
    assert f"| {name} |" in README


def test_a_patch_that_does_not_apply_is_refused() -> None:
    patch = "--- a/protocol/order.py\n+++ b/protocol/order.py\n@@ -1,1 +1,1 @@\n-not a line of it\n+another\n"
    assert [hunk.path for hunk in hunks(patch)] == ["protocol/order.py"]
    with pytest.raises(ValueError, match="found 0 times"):
        mutated(patch, ROOT)


def test_the_tests_that_hunt_mutants_exist() -> None:
    assert [name for name in (*NAMED, MACHINE) if not (ROOT / name).exists()] == []


def test_a_patch_is_in_the_copy_only_and_is_taken_back(tmp_path: Path) -> None:
    (tmp_path / "protocol").mkdir()
    source, patch = tmp_path / "protocol" / "few.py", tmp_path / "a.patch"
    source.write_text("ONE = 1\nTWO = 2\n", encoding="utf-8")
    patch.write_text(
        "--- a/protocol/few.py\n+++ b/protocol/few.py\n@@ -2,1 +2,1 @@\n-TWO = 2\n+TWO = 3\n",
        encoding="utf-8",
    )
    with applied(patch, tmp_path):
        assert source.read_text(encoding="utf-8") == "ONE = 1\nTWO = 3\n"
    assert source.read_text(encoding="utf-8") == "ONE = 1\nTWO = 2\n"


def test_a_copy_has_the_whole_source_and_no_leftovers_of_other_runs(tmp_path: Path) -> None:
    copy_tree(tmp_path)
    assert (tmp_path / "protocol" / "order.py").read_bytes() == (ROOT / "protocol" / "order.py").read_bytes()
    assert (tmp_path / "tests" / "chaos_mutants.py").exists()
    assert not list(tmp_path.rglob("__pycache__"))


# --- the hunt with fault runs ---------------------------------------------------------------------


class Told:
    """A stage whose episodes break the laws that they are told to; it remembers what was played."""

    def __init__(self, **broken: str) -> None:
        self.broken = {int(name.removeprefix("seed")): law for name, law in broken.items()}
        self.played: list[int] = []

    def play(self, seed: int) -> Outcome:
        self.played.append(seed)
        law = self.broken.get(seed)
        return Outcome({} if law is None else {law: "so and so"})


def test_a_hunt_counts_the_seeds_up_to_the_first_law_that_only_the_mutant_breaks() -> None:
    plain, mutant = Told(seed2="INV-05"), Told(seed2="INV-05", seed4="INV-01", seed5="INV-02")
    found = hunt(mutant, Sound(plain), "hash", 10)
    assert (found.seeds, found.law, found.what) == (4, "INV-01", "so and so")
    assert mutant.played == [1, 2, 3, 4]
    assert plain.played == [2, 4]


def test_another_law_in_a_seed_that_is_broken_anyway_counts() -> None:
    assert hunt(Told(seed1=HANGS), Sound(Told(seed1="INV-05")), "hash", 3).law == HANGS


def test_what_nothing_notices_is_said_with_the_seeds_that_were_tried() -> None:
    found = hunt(Told(), Sound(Told()), "hash", 3)
    assert (found.seeds, found.law) == (3, "")
    assert row("07-x", found).startswith("| 07-x | over 3 | nothing |")


def test_an_episode_without_the_patch_is_played_once_for_all_mutants() -> None:
    plain = Told()
    sound = Sound(plain)
    assert hunt(Told(seed1="INV-01"), sound, "a", 3).law == "INV-01"
    assert hunt(Told(seed1="INV-02"), sound, "b", 3).law == "INV-02"
    assert plain.played == [1]


def test_what_was_noticed_before_is_not_hunted_again_unless_the_patch_has_changed(tmp_path: Path) -> None:
    first = IN_CHAOS[0]
    noticed = Find(chaos_mutants.hash_of(first), 3, "INV-08", "lost", 12.0)
    assert known(first, {first.stem: noticed})
    assert not known(first, {first.stem: Find("other", 3, "INV-08", "lost", 12.0)})
    assert not known(first, {})
    assert read_results(tmp_path / "none.json") == {}
    assert table({first.stem: noticed}).splitlines()[-1] == f"| {first.stem} | 3 | INV-08 | 12 |"
