"""SUP-11: a stuck loop ends the process, a suspended one does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import trio

from actors.watchdog import _Watch, watch


def fates(answers: str, *, dump_after: int = 3, exit_after: int = 5) -> list[str]:
    """What follows from wakes of the thread before which the loop did (`+`) or did not (`.`) answer."""
    state, said = _Watch(dump_after, exit_after), list[str]()
    for answer in answers:
        state.beats += answer == "+"
        if not state.woke(lambda: said.append("dump"), lambda code: said.append(f"end {code}")):
            break
    return said


def test_sup_11_only_misses_in_a_row_count() -> None:
    assert fates("++..+..+..+..") == []
    assert fates("+...+") == ["dump"]
    assert fates("+...+...+") == ["dump", "dump"]
    assert fates("+....+") == ["dump"]
    assert fates("+.....+.....") == ["dump", "dump", "end 71"]


def test_a_late_loop_with_a_kill_file_is_not_given_the_rest_of_its_time() -> None:
    killed, said = [False], list[str]()
    state = _Watch(3, 50, lambda: killed[0])

    def misses(times: int) -> bool:
        return all(
            state.woke(lambda: said.append("dump"), lambda code: said.append(f"end {code}"))
            for _ in range(times)
        )

    killed[0] = True
    assert misses(3), "a loop that answers obeys the file by itself"
    assert said == []
    killed[0] = False
    assert misses(10)
    assert said == ["dump"]
    killed[0] = True
    assert not misses(1)
    assert said == ["dump", "dump", "end 71"]


async def test_the_watchdogs_thread_ends_with_its_actor() -> None:
    before = threading.active_count()
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: watch(task_status=task_status))
        assert threading.active_count() == before + 1
        nursery.cancel_scope.cancel()
    assert threading.active_count() == before


async def test_sup_11_a_loop_that_computes_too_long_is_told_of_and_ended() -> None:
    said: list[str] = []
    ended = threading.Event()

    def end(exit_code: int) -> None:
        said.append(f"end {exit_code}")
        ended.set()

    async with trio.open_nursery() as nursery:

        async def watched(task_status: trio.TaskStatus[None]) -> None:
            await watch(
                period_loop_s=0.005,
                dump_after=4,
                exit_after=12,
                dump=lambda: said.append("dump"),
                end=end,
                task_status=task_status,
            )

        await nursery.start(watched)
        await trio.sleep(0.05)
        assert said == []
        assert ended.wait(5)  # holds up the loop, as an actor that computes would
        nursery.cancel_scope.cancel()
    assert said == ["dump", "dump", "end 71"]


WATCHED = """
import sys, time, trio
from actors.watchdog import watch

async def main():
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: watch(
            period_loop_s=0.02, dump_after=10, exit_after=30, task_status=task_status))
        print("ready", flush=True)
        if sys.argv[1] == "stuck":
            time.sleep(60)
        await trio.sleep(float(sys.argv[1]))
        nursery.cancel_scope.cancel()

trio.run(main)
"""


@pytest.mark.slow
def test_sup_11_a_stuck_process_ends_with_71_and_says_where_it_was() -> None:
    run = subprocess.run([sys.executable, "-c", WATCHED, "stuck"], capture_output=True, text=True, timeout=30)
    assert run.returncode == 71
    assert "the event loop does not answer" in run.stderr
    assert "in main" in run.stderr


@pytest.mark.slow
def test_sup_11_a_process_that_was_suspended_is_not_mistaken_for_a_stuck_one() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WATCHED, "1.0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(1.5)
    os.kill(process.pid, signal.SIGCONT)
    process.stdout.close()
    assert process.wait(30) == 0
