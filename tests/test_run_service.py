"""The embedded options-flow service of a run: what it serves is what somebody polls."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import attrs

from actors.run_options import RunOptions, resolve
from actors.run_service import embedded_service
from protocol.config import default_settings
from protocol.flow_service import FlowService
from protocol.settings import Settings
from protocol.source_settings import HttpSource
from protocol.values import Symbol

SLV = Symbol("SLV")
START = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)
LATER = datetime(2025, 1, 23, 16, 0, tzinfo=UTC)


def settings_with(*sources: HttpSource) -> Settings:
    return attrs.evolve(default_settings((SLV,)), sources=sources)


def count(service: FlowService, path: str) -> int:
    _, answer = service.end_points()[path]
    return int(answer({"ticker": "SLV", "limit": "1000"}, LATER).rpartition(b'"count":')[2].rstrip(b"}"))


def test_rows_of_a_market_folder_are_served_to_whoever_polls_them(tmp_path: Path) -> None:
    (tmp_path / "trades.jsonl").write_text(
        '{"ticker": "SLV", "trade_timestamp": "2025-01-23T10:00:00-05:00", "size": 5}\nbroken\n'
    )
    (tmp_path / "divergence.jsonl").write_text('{"ticker": "SLV", "timestamp": 1737644640000}\n')
    settings = settings_with(HttpSource(trades=True))
    service, faults = embedded_service((), settings, ["SLV"], folder=tmp_path)
    assert (count(service, "/trades"), count(service, "/divergence")) == (1, 0)
    assert [fault.split(" ")[0] for fault in faults] == ["trades.jsonl:2:"]


def test_a_demo_draws_what_is_polled_and_the_limits_leave_room_for_it() -> None:
    polled = settings_with(HttpSource(trades=True, divergence=True, data_poll_s=5.0))
    service, faults = embedded_service((), polled, ["SLV"], drawn_from=START, seed=3)
    assert faults == ()
    assert count(service, "/divergence") == 60
    assert count(service, "/trades") > 500
    heavy, _ = service.end_points()["/trades"]
    assert heavy.limit >= 2 * 12
    idle, _ = embedded_service((), settings_with(HttpSource()), ["SLV"], drawn_from=START)
    assert (count(idle, "/trades"), count(idle, "/divergence")) == (0, 0)


def test_a_run_names_the_sources_that_have_nobody_to_poll(tmp_path: Path) -> None:
    lines, config = tmp_path / "signals.jsonl", tmp_path / "run.toml"
    lines.write_text("")
    config.write_text(f'[signals.lines]\nkind = "file"\npath = "{lines}"\n[[symbols]]\nsymbol = "SLV"\n')
    plan = resolve(RunOptions(config=(config,), signals=lines))
    assert plan.service is None
    assert plan.warnings == ("--signals: nobody polls it; add [signals.flow] without a url",)
    assert [source.name for source, _ in plan.sources] == ["lines"]
