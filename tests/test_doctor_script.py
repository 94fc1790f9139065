"""`scripts/doctor.py` as a user calls it: exit codes, the table, JSON, and how it is interrupted."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest

from tests.programs import ROOT, SIMULATOR, program, started, truth

DOCTOR = ROOT / "scripts" / "doctor.py"
CANARY = "canary-4711-secret"


@pytest.mark.slow
def test_a_healthy_simulator_is_exit_0_and_a_wrong_account_exit_2(tmp_path: Path) -> None:
    written = tmp_path / "truth.jsonl"
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[broker]\naccount = "DU7654321"\n', encoding="utf-8")
    with started(SIMULATOR, tmp_path, "--port", "0", "--truth", written) as simulator:
        port = simulator.until_said(r"^listening on 127\.0\.0\.1:(\d+)$")
        asked = ("--tws", f"127.0.0.1:{port}", "--state", tmp_path / "state", "--symbols", "SLV")
        healthy = program(DOCTOR, *asked, "--place-order")
        mistaken = program(DOCTOR, *asked, "--config", wrong, "--json")
        simulator.stop()
    assert healthy.returncode == 0, healthy.stdout + healthy.stderr
    assert "cancelled, Cancelled, nothing left" in healthy.stdout
    assert "next: trade: scripts/run --broker tws" in healthy.stdout
    assert not truth(written)[-1]["open_orders"]
    assert not (tmp_path / "state").exists(), "an examination makes no folder"
    assert mistaken.returncode == 2
    said = json.loads(mistaken.stdout)
    assert said["exit"] == 2
    assert [line["check"] for line in said["findings"] if line["outcome"] == "fail"] == ["account"]
    assert said["settings"]
    assert said["next"]


@pytest.mark.slow
def test_a_silent_listener_is_exit_3_and_the_secret_is_never_said(tmp_path: Path) -> None:
    config = tmp_path / "feed.toml"
    config.write_text('[signals.flow]\nurl = "http://127.0.0.1:9/api/v1"\n', encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        done = program(
            DOCTOR, "--tws", address, "--timeout", "0.5", "--config", config, "--symbols", "SLV", "-v",
            RINGFENCE_FLOW_API_KEY=CANARY,
        )  # fmt: skip
    assert done.returncode == 3, done.stdout + done.stderr
    assert "no answer to the handshake within 0.5 s" in done.stdout
    assert "Trusted IPs" in done.stdout
    assert CANARY not in done.stdout + done.stderr
    assert "shaking hands" in done.stderr


@pytest.mark.slow
def test_an_interrupted_examination_says_what_it_found_so_far(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with started(DOCTOR, tmp_path, "--tws", address, "--timeout", "60", "-v") as doctor:
            silent.accept()[0].close()  # it looks whether the port is open
            shaking, _ = silent.accept()
            doctor.process.send_signal(signal.SIGTERM)
            doctor.wait(1)
            shaking.close()
            assert "interrupted" in doctor.said()


@pytest.mark.parametrize("wrong", [("--tws", "7497"), ("--tws", "host:0"), ("--timeout", "0"), ("--bogus",)])
def test_a_wrong_option_is_one_line_and_exit_2(
    wrong: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    from scripts import doctor

    assert doctor.run(list(wrong)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("doctor.py: ")
