"""What TWS says about accounts, positions and profit.

Field names are those of the TWS API in snake_case. The union of this module is part of
`messages.ServerMessage`; how each looks as bytes is in the layouts.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

import attrs

from protocol.tws.order_terms import SoftDollarTier
from protocol.tws.terms import Contract


@attrs.frozen
class Position:
    account: str
    contract: Contract
    position: Decimal
    avg_cost: float


@attrs.frozen
class PositionEnd:
    pass


@attrs.frozen
class PositionMulti:
    req_id: int
    account: str
    contract: Contract
    position: Decimal
    avg_cost: float
    model_code: str


@attrs.frozen
class PositionMultiEnd:
    req_id: int


@attrs.frozen
class FamilyCodes:
    """Pairs of an account and the code of the family it belongs to, empty for none."""

    codes: tuple[tuple[str, str], ...]


@attrs.frozen
class SoftDollarTiers:
    req_id: int
    tiers: tuple[SoftDollarTier, ...]


@attrs.frozen
class AccountValue:
    key: str
    value: str
    currency: str
    account: str


@attrs.frozen
class PortfolioValue:
    contract: Contract
    position: Decimal
    market_price: float
    market_value: float
    average_cost: float
    unrealized_pnl: float
    realized_pnl: float
    account: str


@attrs.frozen
class AccountUpdateTime:
    text: str


@attrs.frozen
class AccountDownloadEnd:
    account: str


@attrs.frozen
class AccountSummary:
    req_id: int
    account: str
    tag: str
    value: str
    currency: str


@attrs.frozen
class AccountSummaryEnd:
    req_id: int


@attrs.frozen
class AccountUpdateMulti:
    req_id: int
    account: str
    model_code: str
    key: str
    value: str
    currency: str


@attrs.frozen
class AccountUpdateMultiEnd:
    req_id: int


@attrs.frozen
class PnL:
    req_id: int
    daily_pnl: float | None
    unrealized_pnl: float | None
    realized_pnl: float | None


@attrs.frozen
class PnLSingle:
    req_id: int
    position: Decimal
    daily_pnl: float | None
    unrealized_pnl: float | None
    realized_pnl: float | None
    value: float | None


AccountMessage: TypeAlias = (
    Position
    | PositionEnd
    | PositionMulti
    | PositionMultiEnd
    | FamilyCodes
    | SoftDollarTiers
    | AccountValue
    | PortfolioValue
    | AccountUpdateTime
    | AccountDownloadEnd
    | AccountSummary
    | AccountSummaryEnd
    | AccountUpdateMulti
    | AccountUpdateMultiEnd
    | PnL
    | PnLSingle
)
