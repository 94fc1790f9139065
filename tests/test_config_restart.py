"""`[broker] restart_at`: when TWS restarts itself."""

from __future__ import annotations

from datetime import time

import pytest

from protocol.config import ConfigFaults, resolve
from protocol.values import Symbol

OFFERED = (Symbol("SLV"),)


def restart_at(value: object) -> time | None:
    return resolve([{"broker": {"restart_at": value}}], offered=OFFERED).broker.restart_at


def test_unless_said_otherwise_tws_restarts_as_it_is_installed() -> None:
    assert resolve([], offered=OFFERED).broker.restart_at == time(23, 45)


@pytest.mark.parametrize(
    ("written", "read"), [("04:30", time(4, 30)), (time(4, 30), time(4, 30)), ("", None)], ids=repr
)
def test_it_is_a_time_of_day_or_nothing(written: object, read: time | None) -> None:
    assert restart_at(written) == read


@pytest.mark.parametrize("written", ["24:00", "midnight", 23, True, "23.45"], ids=repr)
def test_anything_else_is_refused_with_its_place(written: object) -> None:
    with pytest.raises(ConfigFaults, match=r'broker\.restart_at: expected a time of day like "15:59"'):
        restart_at(written)
