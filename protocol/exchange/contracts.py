"""Contract ids, and the contracts of stocks.

A contract id must be the same in every run and process, with any set of symbols, so it is computed
from the ticker alone. Up to five characters it is a positional number (no two tickers share one);
longer tickers get one from a hash, in a range of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from zoneinfo import ZoneInfo

from protocol.tws.messages import Contract

NEW_YORK = ZoneInfo("America/New_York")

_ALPHABET = " ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-"
_FIRST_SHORT_ID = 100_000
_SHORT_LENGTH = 5
_FIRST_LONG_ID = 200_000_000
_LONG_IDS = 1_800_000_000


def contract_id(symbol: str) -> int:
    """The contract id of a ticker: a positive 32-bit number that never changes."""
    if len(symbol) <= _SHORT_LENGTH and all(letter in _ALPHABET for letter in symbol):
        number = 0
        for letter in symbol.ljust(_SHORT_LENGTH):
            number = number * len(_ALPHABET) + _ALPHABET.index(letter)
        return _FIRST_SHORT_ID + number
    digest = hashlib.sha256(symbol.encode()).digest()
    return _FIRST_LONG_ID + int.from_bytes(digest[:8], "big") % _LONG_IDS


def symbol_of(con_id: int, known: Iterable[str]) -> str | None:
    """The ticker of a contract id: computed for a short one, looked for among `known` otherwise."""
    if con_id >= _FIRST_LONG_ID:
        return next((symbol for symbol in known if contract_id(symbol) == con_id), None)
    number = con_id - _FIRST_SHORT_ID
    letters: list[str] = []
    for _ in range(_SHORT_LENGTH):
        number, position = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[position])
    symbol = "".join(reversed(letters)).rstrip()
    return symbol if symbol and contract_id(symbol) == con_id else None


def stock(symbol: str, exchange: str = "SMART") -> Contract:
    """The contract of a US stock, as TWS echoes it with an order or a position."""
    return Contract(
        con_id=contract_id(symbol),
        symbol=symbol,
        sec_type="STK",
        exchange=exchange,
        currency="USD",
        local_symbol=symbol,
        trading_class=symbol,
    )
