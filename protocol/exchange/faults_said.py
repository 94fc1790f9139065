"""Faults of what TWS says, and of its market data."""

from __future__ import annotations

import enum

import attrs

from protocol.exchange.fault_base import ABOVE_ZERO, COUNT, NOT_BELOW_ZERO, WITHIN, Family, FaultBase


@attrs.frozen(kw_only=True)
class DelayMessages(FaultBase):
    """Messages come `by_s` later; what is said after them overtakes them."""

    family = Family.MESSAGE
    by_s: float = attrs.field(default=3.0, validator=ABOVE_ZERO)


@attrs.frozen(kw_only=True)
class DuplicateMessages(FaultBase):
    """Messages come `copies` times."""

    family = Family.MESSAGE
    copies: int = attrs.field(default=2, validator=COUNT)


@attrs.frozen(kw_only=True)
class DropMessages(FaultBase):
    """Messages never come. Answers to a request for the same do: it is only the news that is lost."""

    family = Family.MESSAGE


@attrs.frozen(kw_only=True)
class ReorderMessages(FaultBase):
    """A message comes after the `past` messages that follow it to the same client, or 1 s later."""

    family = Family.MESSAGE
    past: int = attrs.field(default=1, validator=ABOVE_ZERO)


@attrs.frozen(kw_only=True)
class ShiftNextId(FaultBase):
    """nextValidId is off: rolled back by a restart (below zero), or far ahead."""

    family = Family.MESSAGE
    usual = ("next_valid_id",)
    by: int = attrs.field(validator=WITHIN)


@attrs.frozen(kw_only=True)
class ZeroPermId(FaultBase):
    """The permanent id is missing from a status."""

    family = Family.MESSAGE
    usual = ("order_status",)


@attrs.frozen(kw_only=True)
class StaleStatus(FaultBase):
    """After Filled, an older Submitted comes again, and Filled once more with an average price of 0."""

    family = Family.MESSAGE
    usual = ("order_filled",)


@attrs.frozen(kw_only=True)
class ChangeAccounts(FaultBase):
    """managedAccounts names other accounts than there are."""

    family = Family.MESSAGE
    usual = ("managed_accounts",)
    accounts: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Halt(FaultBase):
    """Trading in the symbol is halted for `duration_s`, tick 49 says so; the market itself goes on."""

    duration_s: float = attrs.field(default=300.0, validator=ABOVE_ZERO)


@attrs.frozen(kw_only=True)
class SilentFeed(FaultBase):
    """Ticks stop without a word, of the symbol or of all."""

    duration_s: float = attrs.field(default=60.0, validator=ABOVE_ZERO)


@attrs.frozen(kw_only=True)
class OldTicks(FaultBase):
    """Ticks are held for `hold_s` and then come in one burst."""

    hold_s: float = attrs.field(default=5.0, validator=ABOVE_ZERO)


class Nonsense(enum.Enum):
    NO_PRICE = "no_price"
    ZERO = "zero"
    NOT_A_NUMBER = "not_a_number"
    HUGE = "huge"
    CROSSED = "crossed"
    """A bid above the offer."""
    NO_SIZE = "no_size"
    HALF_PRICE = "half_price"


@attrs.frozen(kw_only=True)
class BadTick(FaultBase):
    """One quote that makes no sense is told; the venue's own market stays as it is."""

    what: Nonsense = Nonsense.NO_PRICE


@attrs.frozen(kw_only=True)
class MarketDataError(FaultBase):
    """Each market data line of the symbol, or of all, gets an error; with `stops` no more ticks."""

    code: int = 10197
    text: str = "No market data during competing live session"
    stops: bool = True
    duration_s: float = attrs.field(default=0.0, validator=NOT_BELOW_ZERO)
    """How long it stops; 0: until the client asks anew."""


@attrs.frozen(kw_only=True)
class DelayedData(FaultBase):
    """10167, and ticks come with the types of delayed data, for `duration_s`."""

    duration_s: float = attrs.field(default=60.0, validator=ABOVE_ZERO)
