"""Patches that put one mistake into a copy of the source, found by what lines say, not by their number."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("protocol", "actors", "tests", "pyproject.toml")


@attrs.frozen
class Hunk:
    """Lines of one file that a patch replaces."""

    path: str
    old: str
    new: str


def patches_in(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(folder.glob("*.patch")))


def hunks(patch: str) -> Iterator[Hunk]:
    """The hunks of a unified diff."""
    path, old, new, inside = "", "", "", False
    for line in patch.splitlines(keepends=True):
        if line.startswith(("--- ", "+++ ", "@@ ")):
            if inside:
                yield Hunk(path, old, new)
            old, new, inside = "", "", line.startswith("@@ ")
            if line.startswith("+++ "):
                path = line.removeprefix("+++ b/").strip()
            continue
        mark, text = line[:1], line[1:]
        old += text if mark in (" ", "-") else ""
        new += text if mark in (" ", "+") else ""
    if inside:
        yield Hunk(path, old, new)


def mutated(patch: str, root: Path) -> dict[str, str]:
    """The files that a patch changes, as they are after it. Raises ValueError where it does not apply."""
    changed: dict[str, str] = {}
    for hunk in hunks(patch):
        text = changed.get(hunk.path) or (root / hunk.path).read_text(encoding="utf-8")
        if text.count(hunk.old) != 1:
            raise ValueError(f"found {text.count(hunk.old)} times in {hunk.path}:\n{hunk.old}")
        changed[hunk.path] = text.replace(hunk.old, hunk.new)
    if not changed:
        raise ValueError("it changes nothing")
    return changed


@contextmanager
def applied(patch: Path, root: Path) -> Iterator[None]:
    """The tree at `root` with a patch in it, which is taken back at the end."""
    changed = mutated(patch.read_text(encoding="utf-8"), root)
    originals = {name: (root / name).read_text(encoding="utf-8") for name in changed}
    try:
        for name, text in changed.items():
            (root / name).write_text(text, encoding="utf-8")
        yield
    finally:
        for name, text in originals.items():
            (root / name).write_text(text, encoding="utf-8")


def copy_tree(to: Path, root: Path = ROOT) -> None:
    """The source as it is now; nothing that is done to the copy touches the working tree."""
    for name in COPIED:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        else:
            shutil.copy(source, to / name)
