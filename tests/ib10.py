"""The current official client: installed apart, as it has the old one's name, in a process of its own."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pytest

CURRENT: Final = ("nautilus-ibapi==10.46.*", "protobuf")
"""The current client as it is found on PyPI; it does not say that it needs protobuf."""
APART: Final = Path(sys.prefix) / "ibapi-10.46"
WORKER: Final = Path(__file__).parent / "ib10_worker.py"


@functools.cache
def _trouble() -> str:
    """Why the client cannot be had, empty when it is there."""
    if (APART / "ibapi").is_dir():
        return ""
    made = Path(tempfile.mkdtemp(dir=APART.parent))
    how = ("--quiet", "--no-input", "--retries", "0", "--no-deps", "--target")
    command = (sys.executable, "-m", "pip", "install", *how)
    try:
        done = subprocess.run((*command, str(made), *CURRENT), capture_output=True, text=True)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        with suppress(OSError):  # another run of the tests was faster
            made.rename(APART)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return ""


def current_client() -> Path:
    """The folder of the current client; the test is skipped where it cannot be had."""
    if _trouble():
        pytest.skip(f"no current ibapi: {_trouble()}")
    return APART


def _decimal(tree: dict[str, Any]) -> Any:
    return Decimal(tree["decimal"]) if "decimal" in tree else tree


class Worker:
    """The process with the current client: takes a batch of questions, gives an answer for each."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": str(current_client())}
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, of: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def ask(self, questions: list[dict[str, Any]]) -> list[Any]:
        """One answer for each question, in order. See `ib10_worker`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # One line for the whole batch: it is read before anything is answered, so no pipe can fill up.
        self._process.stdin.write(json.dumps(questions) + "\n")
        self._process.stdin.flush()
        answers: list[Any] = json.loads(self._process.stdout.readline(), object_hook=_decimal)
        assert len(answers) == len(questions)
        return answers
