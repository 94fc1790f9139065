"""The body of a webhook, turned into a prediction as the gate reads it."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from datetime import datetime

from protocol.webhooks import Doubt, Fault, text_of

SAME_POST_S = 60.0
"""Two equal posts without id and time within so long are one signal, sent twice."""
MAX_REMEMBERED = 4096
"""Posts without time that are remembered; what is accepted in their time is limited to far less."""
_SIGNALS = {"buy": "BUY", "long": "BUY", "sell": "SELL", "short": "SHORT"}
_CHARTING_FIELDS = frozenset({"symbol", "ticker", "action", "confidence", "time", "id", "price"})
_LEAST_MS = 100_000_000_000
"""A smaller number is an epoch in seconds (so many would be the year 5138), another one in milliseconds."""
_MAX_SPELLED = 40
"""Characters of a number or a time that is spelled as text."""


class PostReader:
    """Turns bodies into predictions: those that are predictions already, and what charting services post.

    The charting form is `{"ticker" or "symbol", "action": "buy" | "sell" | "short", "confidence"?, "time"?,
    "id"?, "price"?}`; numbers may be spelled as text. Without `confidence` the sender is sure (1). `time` is
    ISO 8601 with an offset, or epoch seconds or milliseconds; without it the signal was made when it was
    sent. Without `id` it is made of ticker, signal and time; equal posts without time are one signal when
    they come within a minute of the first.
    """

    def __init__(self) -> None:
        self._first_at: OrderedDict[str, datetime] = OrderedDict()

    def read(self, body: object, *, sent_at: datetime) -> dict[str, object] | Doubt:
        """A prediction as the gate reads it. `sent_at`: when it was sent, in market time."""
        if not isinstance(body, dict):
            return Doubt(Fault.UNREADABLE, "a body is one JSON object")
        if "action" not in body:
            return body
        try:
            return self._read_charting(body, sent_at)
        except _Unreadable as fault:
            return Doubt(Fault.UNREADABLE, str(fault))

    def _read_charting(self, body: dict[str, object], sent_at: datetime) -> dict[str, object]:
        strange = sorted(key for key in body if key not in _CHARTING_FIELDS)
        if strange:
            # A misspelled confidence must not count as none.
            raise _Unreadable(f"unknown fields: {', '.join(map(ascii, strange))[:200]}")
        ticker, signal = _ticker(body), _signal(body["action"])
        prediction: dict[str, object] = {
            "ticker": ticker,
            "signal": signal,
            "confidence": _number(body, "confidence") if "confidence" in body else 1.0,
        }
        if "time" in body:
            stamp_ms = _stamp_ms(body)
            made_of = f"{stamp_ms}"
        else:
            stamp_ms, made_of = self._stamp_of_first(body, sent_at)
        prediction["timestamp"] = stamp_ms
        prediction["id"] = body["id"] if body.get("id") is not None else f"{ticker}-{signal}-{made_of}"
        if "price" in body:
            prediction["stock_price"] = _number(body, "price")
        return prediction

    def _stamp_of_first(self, body: dict[str, object], sent_at: datetime) -> tuple[int, str]:
        """When the first of equal posts was sent, and what names it.

        The name holds the minute and not the moment: should a repetition come after a restart, which
        forgets the first one, it is the same id with another stamp, and refused.
        """
        text = text_of(body)
        if text is None:
            raise _Unreadable("is nested too deeply")
        key = hashlib.sha256(text.encode()).hexdigest()[:12]
        while self._first_at:
            oldest = next(iter(self._first_at.values()))
            if len(self._first_at) < MAX_REMEMBERED and (sent_at - oldest).total_seconds() <= SAME_POST_S:
                break
            self._first_at.popitem(last=False)
        first_s = self._first_at.setdefault(key, sent_at).timestamp()
        return round(first_s * 1000), f"{int(first_s // SAME_POST_S)}-{key}"


class _Unreadable(ValueError):
    """A field of the charting form does not hold what it should."""


def _ticker(body: dict[str, object]) -> str:
    given = [body[name] for name in ("ticker", "symbol") if name in body]
    match given:
        case [str() as ticker]:
            return ticker
        case [_]:
            raise _Unreadable("the ticker is no text")
        case []:
            raise _Unreadable("has no ticker")
        case _:
            raise _Unreadable("ticker and symbol are two names of one field: give one")


def _signal(action: object) -> str:
    signal = _SIGNALS.get(action.lower()) if isinstance(action, str) else None
    if signal is None:
        raise _Unreadable("the action is none of buy, sell, short")
    return signal


def _number(body: dict[str, object], name: str) -> float:
    value = body[name]
    if isinstance(value, str) and len(value) <= _MAX_SPELLED:
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and -1e15 < value < 1e15:
        return float(value)
    raise _Unreadable(f"the {name} is no number")


def _stamp_ms(body: dict[str, object]) -> int:
    value = body["time"]
    if isinstance(value, str) and not value.replace(".", "", 1).isdecimal():
        return _stamp_of_text_ms(value)
    number = _number(body, "time")
    return round(number if number >= _LEAST_MS else number * 1000)


def _stamp_of_text_ms(text: str) -> int:
    try:
        stamp = datetime.fromisoformat(text[: _MAX_SPELLED + 1])
    except ValueError:
        raise _Unreadable("the time is neither ISO 8601 nor epoch seconds or milliseconds") from None
    if stamp.tzinfo is None:
        raise _Unreadable("the time has no offset from UTC (such as Z or -05:00)")
    return round(stamp.timestamp() * 1000)
