"""Deliberate mutants of the trade core: each patch makes one classic mistake, and the tests must notice it.

`python -m tests.mutants [--only WORD]` applies each patch of `tests/mutants/` to a copy of the source in a
temporary folder, runs the core's tests and its rule machine there, and says which of them fail. It ends
with 1 when a mutant lives. The working tree is never touched.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

from tests.patches import applied, copy_tree, patches_in

PATCHES = Path(__file__).resolve().parent / "mutants"
NAMED = tuple(
    f"tests/test_{name}.py"
    for name in ("position", "order", "protection", "closing", "entry", "additions", "rules_acting", "symbol")
)
MACHINE = "tests/test_symbol_machine.py"
QUICK = """
from hypothesis import Phase, settings

settings.register_profile("hunt", phases=(Phase.explicit, Phase.generate))
settings.load_profile("hunt")
"""
"""Goes into the copy: a failing example is enough, nobody waits for the smallest one."""
SLOWEST_S = 300.0
"""A mutant that takes the tests longer than this does not come to rest, which is noticed too."""


@attrs.frozen
class Catch:
    """Which tests noticed a mutant: those with a name of their own, and whether the rule machine did."""

    named: tuple[str, ...]
    machine: bool
    took_s: float


def patches() -> tuple[Path, ...]:
    return patches_in(PATCHES)


def failures(root: Path, tests: Sequence[str], *options: str) -> tuple[str, ...]:
    """The names of the tests that fail in a copy of the tree."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow",
        *options,
        *tests,
    ]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=root, capture_output=True, text=True, timeout=SLOWEST_S, env=environment
        )
    except subprocess.TimeoutExpired:
        return ("it does not come to rest",)
    if done.returncode == 0:
        return ()
    found = re.findall(r"^(?:FAILED|ERROR) tests/\w+\.py(?:::(\S+))?", done.stdout, re.MULTILINE)
    if not found:
        raise RuntimeError(f"the tests could not be run:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return tuple(name or "the tests cannot be read" for name in found)


def hunt(patch: Path, root: Path) -> Catch:
    """Apply a patch to the copy at `root`, run the tests, take it back."""
    began = time.monotonic()
    with applied(patch, root):
        named = failures(root, [name for name in NAMED if (root / name).exists()])
        machine = bool(failures(root, [MACHINE], "-x"))
    return Catch(named, machine, time.monotonic() - began)


def row(name: str, catch: Catch) -> str:
    """One line of the table of results."""
    by = "nothing" if not catch.named else f"`{catch.named[0]}`"
    more = f" and {len(catch.named) - 1} more" if len(catch.named) > 1 else ""
    return f"| {name} | {by}{more} | {'yes' if catch.machine else 'no'} | {catch.took_s:.0f} |"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", help="mutants whose name contains this word")
    only = parser.parse_args(arguments).only
    alive = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        copy_tree(root)
        (root / "conftest.py").write_text(QUICK, encoding="utf-8")
        if failures(root, [*NAMED, MACHINE]):
            print("the tests fail without any mutant", file=sys.stderr)
            return 2
        print("| mutant | noticed by | machine | s |\n|---|---|---|---|", flush=True)
        for patch in patches():
            if only in patch.stem:
                catch = hunt(patch, root)
                alive += not (catch.named or catch.machine)
                print(row(patch.stem, catch), flush=True)
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
