"""`scripts/run` and `scripts/test` on machines that differ: pythons, places, homes. Installing is faked."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import attrs
import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"
TOOLS = (
    "sh",
    "dirname",
    "cksum",
    "cat",
    "cut",
    "mkdir",
    "rm",
    "sleep",
    "tail",
    "env",
    "touch",
    "chmod",
    "cp",
)

# Stands in for a Python: says its version, makes an environment that holds itself, logs every other call.
FAKE_PYTHON = """#!/bin/sh
case "$1 ${{2-}}" in
    "-c import sys"*) exit {old} ;;
    "-c import ensurepip"*) exit {no_venv} ;;
    "-m venv") mkdir -p "$4/bin"; cp "$0" "$4/bin/python"; echo "venv" >>"$CALLS"; exit 0 ;;
    "-m pip") for last; do :; done; echo "pip $last" >>"$CALLS"; exit {pip_fails} ;;
esac
echo "python $PWD $#" >>"$CALLS"
for argument; do echo "  $argument" >>"$CALLS"; done
exit 7
"""


@attrs.frozen
class Machine:
    """A repository in a folder with a space in its name, and a PATH that holds only what we put there."""

    repository: Path
    bin: Path
    calls_file: Path
    home: Path

    def python(self, name: str, *, old: bool = False, no_venv: bool = False, pip_fails: bool = False) -> Path:
        path = self.bin / name
        path.write_text(
            FAKE_PYTHON.format(old=int(old), no_venv=int(no_venv), pip_fails=int(pip_fails)), encoding="utf-8"
        )
        path.chmod(0o755)
        return path

    def call(
        self, script: str, *arguments: str, cwd: Path | None = None, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.bin), "HOME": str(self.home), "CALLS": str(self.calls_file), **extra}
        return subprocess.run(
            [str(self.repository / "scripts" / script), *arguments],
            cwd=cwd or self.home,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text(encoding="utf-8").splitlines() if self.calls_file.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    repository, tools, home = tmp_path / "my trading repo", tmp_path / "bin", tmp_path / "home"
    (repository / "scripts").mkdir(parents=True)
    tools.mkdir()
    home.mkdir()
    for name in ("run", "test", "prepare.sh"):
        shutil.copy(SCRIPTS / name, repository / "scripts" / name)
    (repository / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None, tool
        (tools / tool).symlink_to(found)
    home.chmod(0o555)
    return Machine(repository, tools, tmp_path / "calls", home)


def test_a_first_call_installs_and_then_starts_the_supervisor_with_its_arguments(machine: Machine) -> None:
    machine.python("python3.12")
    done = machine.call("run", "--market", "a folder", "", "*")
    supervisor = machine.repository / "scripts" / "supervisor.py"
    assert machine.calls == [
        "venv",
        f"pip {machine.repository}",
        f"python {machine.home} 5",
        f"  {supervisor}",
        "  --market",
        "  a folder",
        "  ",
        "  *",
    ]
    assert done.returncode == 7
    assert done.stdout == ""
    assert "making .venv with python3.12" in done.stderr
    assert not (machine.repository / ".venv-lock").exists()


def test_a_second_call_starts_at_once(machine: Machine) -> None:
    machine.python("python3")
    machine.call("run")
    machine.calls_file.unlink()
    done = machine.call("run", cwd=machine.repository)
    assert [call.split()[0] for call in machine.calls] == ["python", str(machine.repository).split()[0]]
    assert done.stderr == ""


def test_changed_requirements_are_installed_into_the_same_environment(machine: Machine) -> None:
    machine.python("python3")
    machine.call("run")
    (machine.repository / "pyproject.toml").write_text("[project]\nname = 'x'\n", encoding="utf-8")
    machine.calls_file.unlink()
    machine.call("run")
    assert machine.calls[0] == f"pip {machine.repository}"


def test_a_moved_repository_gets_a_new_environment(machine: Machine) -> None:
    machine.python("python3")
    machine.call("run")
    moved = attrs.evolve(machine, repository=machine.repository.rename(machine.home.parent / "elsewhere"))
    machine.calls_file.unlink()
    moved.call("run")
    assert moved.calls[:2] == ["venv", f"pip {moved.repository}"]


def test_the_test_extras_serve_both_scripts_and_the_plain_install_only_one(machine: Machine) -> None:
    machine.python("python3")
    machine.call("run")
    machine.call("test", "-q")
    machine.call("run")
    installs = [call for call in machine.calls if call.startswith("pip")]
    assert installs == [f"pip {machine.repository}", f"pip {machine.repository}[test]"]


def test_the_newest_python_that_will_do_is_taken(machine: Machine) -> None:
    machine.python("python3.13", old=True)
    machine.python("python3.12", no_venv=True)
    machine.python("python3.11")
    machine.python("python3", old=True)
    assert "with python3.11 " in machine.call("run").stderr


def test_the_python_that_the_user_names_comes_first(machine: Machine) -> None:
    machine.python("python3.13")
    mine = machine.python("my python")
    assert f"with {mine} " in machine.call("run", PYTHON=str(mine)).stderr


def test_without_a_python_that_will_do_the_user_is_told_what_to_install(machine: Machine) -> None:
    machine.python("python3", old=True)
    done = machine.call("run")
    assert done.returncode == 2
    assert "Python 3.11 or newer is needed" in done.stderr
    assert machine.calls == []
    machine.python("python3", no_venv=True)
    done = machine.call("run")
    assert done.returncode == 2
    assert "python3-venv" in done.stderr


def test_a_failed_install_is_told_and_tried_again(machine: Machine) -> None:
    machine.python("python3", pip_fails=True)
    done = machine.call("run")
    assert done.returncode == 1
    assert "installing failed" in done.stderr
    machine.python("python3")
    shutil.copy(machine.bin / "python3", machine.repository / ".venv" / "bin" / "python")
    assert machine.call("run").returncode == 7


def test_a_lock_whose_owner_died_is_taken_over(machine: Machine) -> None:
    machine.python("python3")
    lock = machine.repository / ".venv-lock"
    lock.mkdir()
    gone = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True).stdout
    (lock / "pid").write_text(gone, encoding="utf-8")
    assert machine.call("run").returncode == 7
    assert not lock.exists()


def test_with_arguments_only_pytest_runs_and_its_exit_code_is_ours(machine: Machine) -> None:
    machine.python("python3")
    done = machine.call("test", "-k", "a name")
    assert machine.calls[2:] == [
        f"python {machine.repository} 8",
        "  -m",
        "  pytest",
        "  -n",
        "  auto",
        "  --dist",
        "  worksteal",
        "  -k",
        "  a name",
    ]
    assert done.returncode == 7


def test_without_arguments_style_and_types_are_checked_before_the_suite(machine: Machine) -> None:
    machine.python("python3")
    done = machine.call("test")
    modules = [call for index, call in enumerate(machine.calls) if machine.calls[index - 1] == "  -m"]
    assert modules == ["  ruff", "  ruff", "  mypy", "  pytest"]
    assert done.returncode == 7
    assert "ruff check found faults" in done.stderr


def test_the_scripts_are_executable_and_pass_a_strict_shell() -> None:
    for name in ("run", "test", "../.ci/run"):
        assert os.access(SCRIPTS / name, os.X_OK)
    for name in ("run", "test", "prepare.sh"):
        subprocess.run(["sh", "-n", str(SCRIPTS / name)], check=True)
