"""What a webhook receiver believes: signatures, time stamps, shared secrets, and what the sender is told.

Two schemes. `hmac`: the header `X-Ringfence-Timestamp` holds the sender's epoch seconds, and
`X-Ringfence-Signature` the hex HMAC-SHA256 of the time stamp, a full stop and the body, under the shared
secret. `secret`: the body's own field `secret` holds it, which is all that charting services can do; it
proves nothing against whoever has seen one body, so that only the signal's id stands against a replay.
Nothing here quotes a secret, nor says how a wrong one differs from the right one.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections import OrderedDict

import attrs
import orjson

from protocol.events import SignalVerdictEvent
from protocol.loopback import is_loopback
from protocol.redaction import Secret
from protocol.signal_gate import Judgement
from protocol.source_settings import WebhookSource

TIMESTAMP_HEADER = "X-Ringfence-Timestamp"
SIGNATURE_HEADER = "X-Ringfence-Signature"
MAX_BODY_BYTES = 65_536
MIN_SECRET = 16
"""Characters. A shorter one could be found by trying, at the pace at which connections are accepted."""
MAX_SECRET = 256
SECRET_FIELD = "secret"  # noqa: S105 (the name of a field)
MAX_REMEMBERED = 4096
"""Signatures that are remembered; far fewer are accepted while one is worth remembering."""


class Fault(enum.Enum):
    """Why a request is not believed, or not understood. The value is the answer's status."""

    UNREADABLE = 400
    UNPROVEN = 401
    """The secret or signature is missing or wrong: one answer for all of it."""
    NOT_NOW = 403
    """Rightly signed, but not now, or once already."""


@attrs.frozen
class Doubt:
    fault: Fault
    reason: str


def check_webhook(settings: WebhookSource, secret: str) -> None:
    """ValueError, without the secret in its text, unless a receiver can be as `settings` say."""
    if settings.scheme not in ("hmac", "secret"):
        raise ValueError(f'the scheme of a webhook is "hmac" or "secret", not {settings.scheme!r}')
    if not MIN_SECRET <= len(secret) <= MAX_SECRET or not secret.isascii() or not secret.isprintable():
        raise ValueError(
            f"the secret of a webhook is {MIN_SECRET} to {MAX_SECRET} printable ASCII characters long"
        )
    if settings.scheme != "hmac" and not is_loopback(settings.host):
        raise ValueError(
            'a webhook with the scheme "secret" listens on this machine only (host = "127.0.0.1"), behind a '
            'tunnel or proxy with TLS: whoever reads one post could send his own. Other hosts need "hmac"'
        )
    if not settings.path.startswith("/") or len(settings.path) > 200 or not settings.path.isascii():
        raise ValueError(f"the path of a webhook begins with a slash: {settings.path[:40]!r}")
    if not settings.window_loop_s > 0:
        raise ValueError("the window of a webhook's time stamps is longer than nothing")


# --- is it them? ----------------------------------------------------------------------------------


_NO_PROOF = f"{SIGNATURE_HEADER} and {TIMESTAMP_HEADER} do not prove the sender"


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """The signature of a body sent at `timestamp` (epoch seconds), in hex."""
    return hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class SignatureCheck:
    """Believes each signature once, and only near its time stamp. Remembers what its window holds."""

    def __init__(self, secret: Secret, window_loop_s: float) -> None:
        self._secret, self._window_s = secret, window_loop_s
        self._used: OrderedDict[str, float] = OrderedDict()

    def doubt(self, timestamp: str, signature: str, body: bytes, *, wall_s: float) -> Doubt | None:
        """Why the request must not be believed, or None. `wall_s`: epoch seconds of this machine.

        The time stamp is looked at only once the signature has proved that the sender wrote it.
        """
        expected = sign(self._secret.reveal(), timestamp, body)
        if not hmac.compare_digest(expected.encode(), signature.strip().lower().encode()):
            return Doubt(Fault.UNPROVEN, _NO_PROOF)
        sent_s = read_timestamp(timestamp)
        if sent_s is None:
            return Doubt(Fault.UNREADABLE, f"{TIMESTAMP_HEADER} is no number of epoch seconds")
        if abs(wall_s - sent_s) > self._window_s:
            apart = f"signed {wall_s - sent_s:.0f} s from this machine's time"
            return Doubt(Fault.NOT_NOW, f"{apart}, at most {self._window_s:g} s are allowed")
        self._forget(wall_s)
        if expected in self._used:
            return Doubt(Fault.NOT_NOW, "this signature was used before: sign each post anew")
        if len(self._used) >= MAX_REMEMBERED:
            # Forgetting one would open the window for its replay.
            return Doubt(Fault.NOT_NOW, "more signed posts than this machine remembers: wait a little")
        return None

    def use_up(self, timestamp: str, signature: str) -> None:
        """The request that was not doubted is taken: its signature will not be believed again."""
        self._used[signature.strip().lower()] = read_timestamp(timestamp) or 0.0

    def _forget(self, wall_s: float) -> None:
        """Those whose time stamp alone refuses them by now, with room for a clock that is set back."""
        while self._used and wall_s - next(iter(self._used.values())) > 2 * self._window_s:
            self._used.popitem(last=False)


def read_timestamp(text: str) -> float | None:
    """Epoch seconds, with or without a fraction; None for anything else."""
    if not text or len(text) > 20 or not text.isascii() or not text.replace(".", "", 1).isdecimal():
        return None
    return float(text)


def take_secret(body: object, secret: str) -> object | Doubt:
    """The body without its secret, or the doubt. A secret outside of its field is a mistake to be told of."""
    if not isinstance(body, dict):
        return Doubt(Fault.UNREADABLE, "a body with a secret is a JSON object")
    given = body.get(SECRET_FIELD)
    spoken = given if isinstance(given, str) else ""
    if not hmac.compare_digest(spoken.encode("utf-8", "replace"), secret.encode()):
        return Doubt(Fault.UNPROVEN, f"the field {SECRET_FIELD} does not prove the sender")
    rest = {key: value for key, value in body.items() if key != SECRET_FIELD}
    text = text_of(rest)
    if text is None:
        return Doubt(Fault.UNREADABLE, "is nested too deeply")
    if orjson.dumps(secret).decode()[1:-1] in text:
        return Doubt(Fault.UNREADABLE, f"the secret belongs into the field {SECRET_FIELD} and nowhere else")
    return rest


def text_of(body: dict[str, object]) -> str | None:
    """The same text for equal bodies; None for what is nested too deeply."""
    try:
        return orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:
        return None


# --- what they are told ---------------------------------------------------------------------------


@attrs.frozen
class Told:
    """The answer to a believed post: what became of the signal."""

    verdict: str
    """`passed` (to its symbol, whose rules decide), `ignored`, `refused` or `repeated`."""
    signal_id: str = ""
    code: str = ""
    reason: str = ""


def tell(judgement: Judgement) -> Told:
    """What the gate made of it, for the sender."""
    if judgement.passed is not None:
        return Told("passed", judgement.passed.signal_id)
    for event in judgement.events:
        if isinstance(event, SignalVerdictEvent):
            return Told(event.verdict.value, event.signal_id, event.code, event.reason)
    return Told("repeated", reason="nothing new: it was received before, or there is too much at once")
