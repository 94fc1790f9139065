"""The paper suite: refuses every account that is not paper, and leaves the account as it found it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from actors.tws_link import LinkDown
from tests.paper.desk import NotPaper, PaperDesk, Target
from tests.paper.probes import ROWS, Probes, lines, write

USAGE_EXIT, NO_SESSION_EXIT = 2, 3
CLEANING_LOOP_S = 60.0
"""For cancels and a closing order, on an account that answers slowly."""


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = Probes()


@pytest.fixture(scope="session")
def target() -> Target:
    try:
        return Target.of_environment()
    except ValueError as wrong:
        pytest.exit(f"nothing was done: {wrong}", returncode=USAGE_EXIT)


@pytest.fixture(scope="session", autouse=True)
def account_left_as_it_was(target: Target) -> Iterator[None]:
    """Before the first test and after the last one, also when tests have failed."""

    async def clean() -> None:
        await (await PaperDesk.open(target)).leave()

    try:
        trio.run(clean)
    except NotPaper as refused:
        pytest.exit(f"nothing was done: {refused}", returncode=USAGE_EXIT)
    except LinkDown as problem:
        where = f"{target.host}:{target.port}"
        pytest.exit(
            f"no session with a TWS at {where}: {problem}; scripts/doctor.py --tws {where} says more",
            returncode=NO_SESSION_EXIT,
        )
    yield
    trio.run(clean)


@pytest.fixture
async def paper(target: Target) -> AsyncIterator[PaperDesk]:
    desk = await PaperDesk.open(target)
    try:
        yield desk
    finally:
        with trio.CancelScope(shield=True), trio.fail_after(CLEANING_LOOP_S):
            await desk.leave()


@pytest.fixture
def probes(request: pytest.FixtureRequest) -> Probes:
    return request.config.stash[ROWS]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash.get(ROWS, Probes())
    if not found.rows:
        return
    terminalreporter.section("what this TWS does, beside what the simulator imitates")
    for line in lines(found, fills=Target.of_environment().fills):
        terminalreporter.write_line(line)
    report = os.environ.get("RINGFENCE_PAPER_REPORT")
    if report:
        write(found, Path(report))
