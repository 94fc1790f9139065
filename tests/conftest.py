"""What holds for every run of the tests: those against a paper account run only when they are asked for."""

from __future__ import annotations

import re

import pytest

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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if asks_for_paper(config):
        return
    left_out = [item for item in items if item.get_closest_marker(PAPER) is not None]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item.get_closest_marker(PAPER) is None]
