"""What TWS says about the session itself.

Field names are those of the TWS API in snake_case. The union of this module is part of
`messages.ServerMessage`; how each looks as bytes is in the layouts.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs


@attrs.frozen
class NextValidId:
    order_id: int


@attrs.frozen
class ManagedAccounts:
    accounts: tuple[str, ...]


@attrs.frozen
class ErrorMessage:
    """`id` is a request's, an order's, or -1 for a notice about the session."""

    id: int
    code: int
    text: str
    advanced_json: str = ""
    """From version 166 on."""
    time_ms: int = 0
    """When it happened, epoch milliseconds; from version 194 on."""


@attrs.frozen
class CurrentTime:
    epoch_s: int


@attrs.frozen
class CurrentTimeInMillis:
    epoch_ms: int


@attrs.frozen
class UserInfo:
    """`white_branding_id` names the broker that resells TWS; empty for IBKR itself."""

    req_id: int
    white_branding_id: str


SessionMessage: TypeAlias = (
    NextValidId | ManagedAccounts | ErrorMessage | CurrentTime | CurrentTimeInMillis | UserInfo
)
