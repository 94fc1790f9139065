"""Where control sockets are, and that nobody else can lead a client astray."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from actors.control_places import (
    MAX_SOCKET_PATH,
    NotPrivate,
    RunningNote,
    note_run,
    noted_runs,
    private_folder,
    runtime_folder,
    runtime_folders,
    socket_of,
    socket_place,
    take_away,
    write_private,
)


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not those of whoever runs the tests."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "run").mkdir(mode=0o700)
    (tmp_path / "tmp").mkdir()


def note(pid: int = os.getpid()) -> RunningNote:
    return RunningNote(pid=pid, state="/s", socket="/s/control.sock", what="demo")


def dead_process() -> int:
    """A number that no process has any more."""
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_the_socket_lies_in_the_state_folder(tmp_path: Path) -> None:
    assert socket_place(tmp_path) == tmp_path / "control.sock"
    assert socket_of(tmp_path) == tmp_path / "control.sock"


def test_a_path_too_long_for_a_socket_goes_to_the_runtime_folder(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 200)
    deep.mkdir()
    place = socket_place(deep)
    assert place.parent == runtime_folder()
    assert len(os.fsencode(place)) <= MAX_SOCKET_PATH
    write_private(deep / "control", os.fsencode(place))
    assert socket_of(deep) == place


def test_the_users_own_runtime_folder_comes_first_and_the_temporary_one_will_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert runtime_folder() == tmp_path / "run" / "ringfence"
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/proc/nowhere")
    assert runtime_folder() == tmp_path / "tmp" / f"ringfence-{os.getuid()}"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert runtime_folders() == (tmp_path / "tmp" / f"ringfence-{os.getuid()}",)


def test_a_run_is_found_while_its_process_is_there(tmp_path: Path) -> None:
    path = note_run(note())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(noted_runs()) == [note()]
    path.unlink()
    assert list(noted_runs()) == []


def test_notes_of_dead_processes_are_ignored_and_taken_away_by_the_next_run() -> None:
    gone = note(dead_process())
    left = note_run(gone)
    assert list(noted_runs()) == []
    note_run(note())
    assert not left.exists()
    assert list(noted_runs()) == [note()]


def test_the_runtime_folder_goes_with_its_last_note() -> None:
    mine, other = note_run(note()), note_run(note(1))
    take_away([mine])
    assert list(noted_runs()) == [note(1)]
    take_away([other])
    assert not other.parent.exists()


def test_nonsense_among_the_notes_is_ignored() -> None:
    folder = note_run(note()).parent
    for name, content in {"1.json": b"", "2.json": b"[]", "3.json": b'{"pid": 1}', "4.json": b"\xff"}.items():
        (folder / name).write_bytes(content)
    assert list(noted_runs()) == [note()]


def test_a_folder_that_others_may_enter_is_not_believed(tmp_path: Path) -> None:
    path = note_run(note())
    path.parent.chmod(0o755)
    assert list(noted_runs()) == []
    with pytest.raises(NotPrivate, match="0700"):
        private_folder(path.parent)


def test_a_link_in_the_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (tmp_path / "run" / "ringfence").symlink_to(elsewhere)
    # The second choice, rather than somebody else's idea.
    assert runtime_folder() == tmp_path / "tmp" / f"ringfence-{os.getuid()}"


def test_a_link_in_the_place_of_a_note_is_neither_read_nor_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    folder = runtime_folder()
    (folder / f"{os.getpid()}.json").symlink_to(victim)
    assert list(noted_runs()) == []
    note_run(note())
    assert victim.read_bytes() == b"precious"
    with pytest.raises(FileExistsError):
        write_private(victim, b"other")
