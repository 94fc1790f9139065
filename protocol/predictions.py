"""One prediction of the options-flow API, read strictly: a `PredictionSignalEvent`, or what is wrong with it.

Fields that we do not trade on may be absent or new; those that are there must hold what the contract
says of them. Nothing here compares with the clock or with earlier predictions: that is `signal_gate`.
"""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime

import attrs
import orjson

from protocol.events import PredictionSignalEvent
from protocol.values import Symbol

MAX_TEXT = 64
"""Characters in a ticker, a signal, an id or a date-time: none of them is longer in the contract."""
MAX_TIMESTAMP_MS = 4_102_444_800_000
"""The year 2100. A larger number is no epoch in milliseconds but a mistake (microseconds, for one)."""
MAX_WHOLE = 10**18
"""An id may be a whole number up to this one."""
MAX_BODY_BYTES = 65_536
"""Of one prediction as JSON: a hundred times what the service sends."""
SHOWN = 40
"""Characters of a wrong value that a reason quotes."""
_HASH_DIGITS = 24
VOLATILE_FIELDS = frozenset({"prediction_time"})
"""When the service computed its answer: it may differ between two answers about the same prediction."""


@attrs.frozen
class PredictionFault:
    """A body that is no prediction. `signal_id` is its own id, or one made of its hash where it has none."""

    signal_id: str
    symbol: str
    body_hash: str
    reason: str


def read_prediction(body: object, *, at: datetime, source: str) -> PredictionSignalEvent | PredictionFault:
    """What `body` (one decoded JSON value) says, received at market time `at` from `source`."""
    text = _canonical(body)
    body_hash = _hash(body, text)
    if not isinstance(body, dict):
        return PredictionFault(f"body-{body_hash}", "", body_hash, f"is no object: {_shown(body)}")
    faults: list[str] = []
    if text is None:
        faults.append("is nested too deeply, or holds a number or a text that JSON cannot")
    elif len(text) > MAX_BODY_BYTES:
        faults.append(f"is {len(text)} bytes, at most {MAX_BODY_BYTES}")
    ticker = _text(body, "ticker", faults)
    signal = _text(body, "signal", faults)
    confidence = _number(body, "confidence", 0.0, 1.0, faults)
    timestamp_ms = _number(body, "timestamp", 1.0, MAX_TIMESTAMP_MS, faults)
    stock_price = _optional_price(body, faults)
    _check_the_rest(body, faults)
    own_id = _own_id(body, faults)
    if faults or ticker is None or signal is None or confidence is None or timestamp_ms is None:
        reason = "; ".join(faults)
        return PredictionFault(own_id or f"body-{body_hash}", ticker or "", body_hash, reason)
    return PredictionSignalEvent(
        at=at,
        symbol=Symbol(ticker),
        signal_id=own_id or f"{ticker}-{timestamp_ms:.0f}",
        source=source,
        signal=signal,
        confidence=confidence,
        predicted_at=datetime.fromtimestamp(timestamp_ms / 1000, UTC),
        stock_price=stock_price,
        body_hash=body_hash,
    )


def timestamp_of(body: object) -> float | None:
    """The time stamp of a prediction in epoch milliseconds, or None where it has no usable one."""
    if not isinstance(body, dict):
        return None
    return _number(body, "timestamp", 1.0, MAX_TIMESTAMP_MS, [])


def ticker_of(body: object) -> str | None:
    """The ticker that a prediction names, or None where it names none."""
    return _text(body, "ticker", []) if isinstance(body, dict) else None


def hash_body(body: object) -> str:
    """The identity of a body: the same for equal JSON, however its keys are ordered."""
    return _hash(body, _canonical(body))


def _hash(body: object, text: bytes | None) -> str:
    if text is None:
        return _hash_walk(_stable(body))
    return hashlib.sha256(text).hexdigest()[:_HASH_DIGITS]


def _stable(body: object) -> object:
    if not isinstance(body, dict):
        return body
    return {key: value for key, value in body.items() if key not in VOLATILE_FIELDS}


def _canonical(body: object) -> bytes | None:
    """The JSON of a body with its keys in order; None for what the encoder cannot write.

    The decoder takes deeper nesting than the encoder, and other decoders take wider integers.
    """
    try:
        return orjson.dumps(_stable(body), option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError:
        return None


def _hash_walk(body: object) -> str:
    digest = hashlib.sha256()
    pending = [body]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            digest.update(b"{%d" % len(value))
            for key in sorted(value, key=repr):
                pending += (value[key], key)
        elif isinstance(value, list):
            digest.update(b"[%d" % len(value))
            pending += value
        else:
            digest.update((hex(value) if isinstance(value, int) else ascii(value)).encode() + b",")
    return digest.hexdigest()[:_HASH_DIGITS]


def _shown(value: object) -> str:
    """A bounded, printable form of a wrong value: a container is named, not walked."""
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, int) and abs(value) > MAX_WHOLE:
        return "a huge number"
    return ascii(value[:SHOWN] if isinstance(value, str) else value)[: SHOWN + 2]


def _text(body: dict[str, object], name: str, faults: list[str]) -> str | None:
    value = body.get(name)
    if (
        isinstance(value, str)
        and 0 < len(value) <= MAX_TEXT
        and value.isprintable()
        and value == value.strip()
    ):
        return value
    if name not in body:
        faults.append(f"has no {name}")
    else:
        faults.append(f"{name} is no text of 1 to {MAX_TEXT} printable characters: {_shown(value)}")
    return None


def _number(body: dict[str, object], name: str, least: float, most: float, faults: list[str]) -> float | None:
    value = body.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most:
        return float(value)
    if name not in body:
        faults.append(f"has no {name}")
    else:
        faults.append(f"{name} is no number from {least:g} to {most:g}: {_shown(value)}")
    return None


def _is_finite_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, int) or math.isfinite(value)


def _optional_price(body: dict[str, object], faults: list[str]) -> float | None:
    """None where there is none; a service that knows no price may also say 0."""
    if body.get("stock_price") is None:
        return None
    return _number(body, "stock_price", 0.0, 1e9, faults) or None


def _own_id(body: dict[str, object], faults: list[str]) -> str | None:
    value = body.get("id")
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_WHOLE:
        return str(value)
    return _text(body, "id", faults)


def _check_the_rest(body: dict[str, object], faults: list[str]) -> None:
    """The fields of the contract that nothing trades on: what is there must still be what it claims to be."""
    if (numeric := body.get("numeric")) is not None and (
        isinstance(numeric, bool) or numeric not in (-1, 0, 1)
    ):
        faults.append(f"numeric is none of 1, 0, -1: {_shown(numeric)}")
    if (shares := body.get("probabilities")) is not None and not (
        isinstance(shares, list) and len(shares) <= MAX_TEXT and all(map(_is_finite_number, shares))
    ):
        faults.append(f"probabilities are no finite numbers: {_shown(shares)}")
    for name in ("datetime", "datetime_of_data"):
        if body.get(name) is not None:
            _text(body, name, faults)
