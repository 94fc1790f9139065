"""What holds for every run of the tests: those against a paper account run only when they are asked for, and
a program can be interrupted."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAPER = "paper"
ASKS = re.compile(rf"(?<!not )\b{PAPER}\b")


def asks_for_paper(config: pytest.Config) -> bool:
    """Whether `-m` names the marker: nobody's account is touched by running everything."""
    return bool(ASKS.search(config.option.markexpr or ""))


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    # One session with TWS, one client id: these tests never run side by side.
    if asks_for_paper(config) and hasattr(config.option, "numprocesses"):
        config.option.numprocesses = 0


def pytest_configure() -> None:
    # A shell has what it runs in the background ignore SIGINT, and with the suite the programs under test.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m paper` alone, the modules beside the suite are not even imported: it takes longer than it."""
    alone = (config.option.markexpr or "").strip() == PAPER
    return True if alone and collection_path.is_file() and collection_path.parent == TESTS else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if asks_for_paper(config):
        return
    left_out = [item for item in items if item.get_closest_marker(PAPER) is not None]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item.get_closest_marker(PAPER) is None]
