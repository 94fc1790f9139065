"""The phases of a link, and what is counted of a session."""

from __future__ import annotations

import enum

import attrs


class Phase(enum.Enum):
    DOWN = "down"
    IDENTITY = "waiting for the accounts and the next order id"
    CLOCK = "waiting for the time"
    CONTRACTS = "waiting for the contracts"
    SNAPSHOT = "waiting for the books"
    UP = "up"


@attrs.define
class SessionCounts:
    """Since the session began. Nothing here decides anything."""

    stale_commands: int = 0
    undecodable: int = 0
    foreign_messages: int = 0
    link_losses: int = 0
