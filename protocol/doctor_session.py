"""What the answers of a TWS mean for a run: account, clock, farms, contracts, data, money.

Each function makes one finding of what was asked and heard. Nobody is asked anything here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final
from zoneinfo import ZoneInfo

import attrs

from protocol.doctor import Check, Finding, fail, ok, skip, warn
from protocol.doctor_advice import advice_for, click
from protocol.session_identity import choose_account
from protocol.session_words import RefuseBroker
from protocol.settings import BrokerSettings, Mode
from protocol.tws.codes import CodeClass, classify
from protocol.tws.messages import ContractDetails, ErrorMessage, HistoricalBar, Position

CLOCK_TOLERANCE_S = 2.0
"""TWS says whole seconds, and the answer takes its way."""
ANOTHER_TIME_S = 86_400.0
"""A clock that is wrong by more than a day is a replay's."""

_NEW_YORK: Final = ZoneInfo("America/New_York")


def judge_version(version: int, client_max: int) -> Finding:
    return ok(Check.HANDSHAKE, f"server version {version}; the installed ibapi speaks up to {client_max}")


def shortened(account: str) -> str:
    """Enough of an account to tell paper from live and one's own from others."""
    return f"{account[:2]}…{account[-3:]}" if len(account) > 6 else account


def judge_account(broker: BrokerSettings, accounts: tuple[str, ...]) -> tuple[Finding, str]:
    """Whether a run would trade here, and the account that it would trade; "" when it would not."""
    chosen = choose_account(broker, accounts)
    if isinstance(chosen, RefuseBroker):
        kind = broker.mode.value
        return fail(
            Check.ACCOUNT,
            chosen.reason,
            f"log TWS in to the {kind} account, or set account and mode under [broker] (paper: DU…)",
            "mode, port and account have to agree: 7497 and 4002 are paper ports, 7496 and 4001 live ones",
        ), ""
    live = "" if broker.mode is Mode.PAPER else ": real money"
    return ok(Check.ACCOUNT, f"{shortened(chosen)}, {broker.mode.value}{live}, as the mode says"), chosen


def judge_clock(theirs_epoch_s: int, ours: datetime) -> Finding:
    theirs = datetime.fromtimestamp(theirs_epoch_s, UTC)
    ahead_s = (theirs - ours).total_seconds()
    if abs(ahead_s) > ANOTHER_TIME_S:
        return warn(
            Check.CLOCK,
            f"TWS lives at {theirs.astimezone(_NEW_YORK):%Y-%m-%d %H:%M} New York: a simulator or a replay",
            "market time is TWS's; signals from elsewhere would look too old or too new",
        )
    # A whole second that TWS cuts off is no difference.
    if -CLOCK_TOLERANCE_S - 1 <= ahead_s <= CLOCK_TOLERANCE_S:
        return ok(Check.CLOCK, "TWS and this machine agree")
    way = "ahead of" if ahead_s > 0 else "behind"
    return warn(
        Check.CLOCK,
        f"TWS's clock is {abs(ahead_s):.0f} s {way} this machine's",
        "set this machine's clock: `timedatectl set-ntp true` (WSL: `sudo hwclock -s`)",
        "the ages of signals are judged by TWS's clock, the time stamps of webhooks by this machine's",
    )


def judge_upstream(notices: Sequence[ErrorMessage]) -> Finding:
    """Whether TWS itself is connected, from what it said unasked."""
    lost: ErrorMessage | None = None
    broken: dict[str, ErrorMessage] = {}
    connected: set[str] = set()
    for notice in notices:
        farm = notice.text.rpartition(":")[2].strip()
        match classify(notice.code):
            case CodeClass.LINK_LOST:
                lost = notice
            case CodeClass.LINK_RESTORED | CodeClass.LINK_RESTORED_DATA_LOST:
                lost = None
            case CodeClass.FARM_BROKEN:
                broken[farm] = notice
            case CodeClass.FARM_OK | CodeClass.FARM_INACTIVE:
                broken.pop(farm, None)
                connected.add(farm)
            case _:
                pass
    if lost is not None:
        return fail(Check.UPSTREAM, told(lost), *advice_for(lost.code))
    if broken:
        names = ", ".join(sorted(broken))
        return warn(
            Check.UPSTREAM,
            f"farms that are down: {names}",
            "they come back by themselves; orders are not touched",
        )
    return ok(Check.UPSTREAM, f"{len(connected)} data farms are there" if connected else "no farm is down")


def told(error: ErrorMessage) -> str:
    """An error as TWS said it."""
    return f"{error.code}: {' '.join(error.text.split())}"


def judge_read_only(errors: Iterable[ErrorMessage], *, answered: bool) -> Finding:
    """Whether orders may be asked about: in the read-only mode TWS refuses even that."""
    for error in errors:
        if error.code == 321 and "read-only" in error.text.lower():
            return fail(Check.API_SETTINGS, told(error), click("Read-Only API"))
    if not answered:
        return warn(
            Check.API_SETTINGS,
            "TWS did not list its open orders",
            "look for a dialog in TWS that waits for a click",
        )
    return ok(Check.API_SETTINGS, "orders may be asked for: “Read-Only API” is off")


@attrs.frozen(kw_only=True)
class OpenBooks:
    """What is open before anything is done. `own` and `foreign` count working orders."""

    positions: tuple[Position, ...] = ()
    own: int = 0
    foreign: int = 0
    leftovers: int = 0
    """Orders of an earlier examination."""


def judge_books(books: OpenBooks, account: str) -> Finding:
    held = [
        f"{position.contract.symbol} {position.position:f}"
        for position in books.positions
        if position.position and (not account or position.account == account)
    ]
    parts = [
        f"positions {', '.join(held)}" if held else "no positions",
        _count(books.own + books.leftovers, "working order of this client id"),
        *([_count(books.foreign, "of other programs or persons")] if books.foreign else []),
    ]
    text = ", ".join(parts)
    if books.leftovers:
        return warn(Check.BOOKS, text, f"{books.leftovers} of an earlier examination: cancel them in TWS")
    return ok(Check.BOOKS, text)


def _count(number: int, what: str) -> str:
    head, blank, tail = what.partition(" order")
    plural = f"{head}{blank}s{tail}" if blank and number != 1 else what
    return f"{number or 'no'} {plural}"


def judge_money(figures: Mapping[str, tuple[str, str]]) -> Finding:
    """`figures`: tag of the account summary to (value, currency)."""
    worth, power = _amount(figures, "NetLiquidation"), _amount(figures, "BuyingPower")
    if worth is None:
        return fail(
            Check.MONEY,
            "TWS does not tell what the account is worth",
            "wait until TWS has loaded the account, then try again",
        )
    currency = figures["NetLiquidation"][1] or "USD"
    said = f"equity {worth:,.2f} {currency}"
    said += "" if power is None else f", buying power {power:,.2f}"
    if currency != "USD":
        return warn(Check.MONEY, said, "limits and sizes are dollars; equity is taken as it is told")
    if worth <= 0 or (power is not None and power <= 0):
        return fail(
            Check.MONEY, said, "nothing can be bought with this; reset the paper account in Client Portal"
        )
    return ok(Check.MONEY, said)


def _amount(figures: Mapping[str, tuple[str, str]], tag: str) -> Decimal | None:
    try:
        amount = Decimal(figures[tag][0])
    except (KeyError, InvalidOperation):
        return None
    return amount if amount.is_finite() else None


# --- symbols ----------------------------------------------------------------------------------------


def judge_contract(
    symbol: str, answers: Sequence[ContractDetails], refusal: ErrorMessage | None, *, example: bool
) -> Finding:
    """`example`: the user did not name the symbol, so that its absence says little."""
    fitting = [
        details
        for details in answers
        if (details.contract.symbol, details.contract.sec_type, details.contract.currency)
        == (symbol, "STK", "USD")
    ]
    if len({details.contract.con_id for details in fitting}) == 1:
        found = fitting[0]
        where = found.contract.primary_exchange or found.contract.exchange
        named = found.long_name or found.market_name
        return ok(
            Check.CONTRACT, ", ".join(filter(None, (named, where, f"steps of {found.min_tick:g}"))), symbol
        )
    if refusal is not None:
        text = told(refusal)
    else:
        text = (
            "several such stocks" if fitting else "no answer" if not answers else "no such stock in dollars"
        )
    if example:
        return warn(Check.CONTRACT, text, "only an example: name your own with --symbols A,B", subject=symbol)
    advice = advice_for(refusal.code if refusal is not None else 200)
    return fail(Check.CONTRACT, text, *advice, subject=symbol)


@attrs.frozen(kw_only=True)
class DataHeard:
    """What one symbol's market data line said. `kind`: TWS's type, 1 live, 2 frozen, 3 delayed, 4 both."""

    kind: int | None = None
    bid: float | None = None
    ask: float | None = None
    last: float | None = None
    """The last trade, or the last close."""
    refusal: ErrorMessage | None = None
    waited_s: float = 0.0

    @property
    def quoted(self) -> bool:
        return self.bid is not None and self.ask is not None

    @property
    def price(self) -> float | None:
        """A price to be far away from: the middle of the quote, else what traded last."""
        if self.bid is not None and self.ask is not None:
            return (self.bid + self.ask) / 2
        return self.last


def judge_data(symbol: str, live: DataHeard, delayed: DataHeard | None) -> Finding:
    """`live`: as a run asks; `delayed`: asked again where delayed data would do; None: needless."""
    kind = live.kind if live.kind is not None or not live.quoted else 1
    if live.refusal is None or (kind == 1 and live.quoted):
        match kind:
            case 1 if live.quoted:
                return ok(Check.MARKET_DATA, f"live: bid {live.bid:g}, ask {live.ask:g}", symbol)
            case 1 | None:
                return warn(
                    Check.MARKET_DATA,
                    f"no quote within {live.waited_s:g} s, and no refusal: is the market closed?",
                    "try again in trading hours; without a fresh quote nothing is entered",
                    subject=symbol,
                )
            case 2:
                return warn(Check.MARKET_DATA, "frozen: the quote of a closed market", subject=symbol)
            case _:
                return _delayed_only(symbol, live.refusal)
    if live.refusal.code == 10197:
        return fail(Check.MARKET_DATA, told(live.refusal), *advice_for(10197), subject=symbol)
    if delayed is not None and (delayed.kind in (3, 4) or delayed.price is not None):
        return _delayed_only(symbol, live.refusal)
    return fail(Check.MARKET_DATA, told(live.refusal), *advice_for(live.refusal.code), subject=symbol)


def _delayed_only(symbol: str, refusal: ErrorMessage | None) -> Finding:
    said = "" if refusal is None else f" ({told(refusal)})"
    return fail(
        Check.MARKET_DATA,
        f"delayed only, and nothing is ever entered on that{said}",
        *advice_for(refusal.code if refusal is not None else 10167),
        subject=symbol,
    )


def judge_history(symbol: str, bars: Sequence[HistoricalBar], refusal: ErrorMessage | None) -> Finding:
    if bars:
        return ok(Check.HISTORY, f"{len(bars)} bars of a minute, the last of {bars[-1].date}", symbol)
    text = "no bars and no answer" if refusal is None else told(refusal)
    advice = advice_for(162 if refusal is None else refusal.code)
    return warn(
        Check.HISTORY,
        text,
        "distances in average true ranges are refused without bars",
        *advice,
        subject=symbol,
    )


def skip_without(check: Check, symbol: str) -> Finding:
    return skip(check, "the contract is not known", symbol)
