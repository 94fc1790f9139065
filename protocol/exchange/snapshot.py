"""Everything a venue holds, as one frozen value, and that value as JSON."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from fractions import Fraction

import attrs
from cattrs.preconf.orjson import make_converter

from protocol.exchange.account import AccountRecord, PositionRecord
from protocol.exchange.book import OrderRecord
from protocol.exchange.happenings import CommissionCharged, VenueExecution
from protocol.exchange.quotes import QuoteRecord


@attrs.frozen
class GroupBlock:
    """The member of a blocking OCA group that traded last, and when."""

    account: str
    group: str
    perm_id: int
    at: datetime


@attrs.frozen
class SpentGroup:
    """An OCA group of which a member has filled completely."""

    account: str
    group: str


@attrs.frozen(kw_only=True)
class VenueSnapshot:
    """A venue between two calls, with nothing left to take: orders in all states, books, market, counters."""

    next_perm_id: int
    session_open: bool
    orders: tuple[OrderRecord, ...]
    executions: tuple[VenueExecution, ...]
    charges: tuple[CommissionCharged, ...]
    accounts: tuple[AccountRecord, ...]
    positions: tuple[PositionRecord, ...]
    quotes: tuple[QuoteRecord, ...]
    blocks: tuple[GroupBlock, ...]
    spent_groups: tuple[SpentGroup, ...]


_converter = make_converter()
_converter.register_unstructure_hook(Decimal, str)
_converter.register_structure_hook(Decimal, lambda text, _: Decimal(text))
_converter.register_unstructure_hook(Fraction, str)
_converter.register_structure_hook(Fraction, lambda text, _: Fraction(text))


def snapshot_to_json(snapshot: VenueSnapshot) -> bytes:
    return _converter.dumps(snapshot)


def snapshot_from_json(text: bytes) -> VenueSnapshot:
    """The snapshot that `text` holds; `cattrs` and `orjson` errors where it does not hold one."""
    return _converter.loads(text, VenueSnapshot)
