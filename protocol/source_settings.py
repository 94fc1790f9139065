"""Where signals come from, as the user configures it: `[signals.NAME]`, any number of each kind."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from protocol.values import Symbol


@attrs.frozen(kw_only=True)
class SourceRules:
    """What holds for the signals of every kind of source. Ages in market seconds.

    `max_age_s` None: the kind's own default. `min_confidence_of` overrides for single symbols.
    `flip_flop_s` and `max_flips`: a symbol whose signal turned around more often than that within so long
    is not turned once more.
    """

    name: str = "flow"
    min_confidence: float = 0.5
    min_confidence_of: tuple[tuple[Symbol, float], ...] = ()
    max_age_s: float | None = None
    max_flips: int | None = None
    flip_flop_s: float = 600.0

    def confidence_for(self, symbol: str) -> float:
        """The least confidence that a signal of `symbol` needs."""
        return next((least for name, least in self.min_confidence_of if name == symbol), self.min_confidence)


@attrs.frozen(kw_only=True)
class HttpSource(SourceRules):
    """One options-flow API to poll. `max_age_s` None: `poll_s` + 30."""

    url: str = ""
    """Empty: the embedded service."""
    api_key_env: str = "RINGFENCE_FLOW_API_KEY"
    poll_s: float = 60.0
    poll_of: tuple[tuple[Symbol, float], ...] = ()
    """Symbols with an interval of their own."""
    tickers: tuple[Symbol, ...] = ()
    """Empty: every symbol that is traded."""
    trades: bool = False
    """Poll `/trades` as well, for thresholds."""
    divergence: bool = False
    """Poll `/divergence` as well, for thresholds."""
    data_poll_s: float = 60.0


@attrs.frozen(kw_only=True)
class WebSocketSource(SourceRules):
    """A feed that pushes predictions as JSON text messages. `max_age_s` None: 10."""

    name: str = "feed"
    url: str = ""
    """wss://, or ws:// to this machine."""
    token_env: str = ""
    """The variable with a bearer token for the handshake; empty: none."""
    subscribe: str = ""
    """A text sent after connecting; `{tickers}` and `{last_seq}` are filled in."""
    keep_alive_loop_s: float = 20.0
    silence_loop_s: float = 60.0
    """Without any message or pong for so long, the connection is given up and made anew."""


@attrs.frozen(kw_only=True)
class WebhookSource(SourceRules):
    """A small HTTP receiver for what charting services post. `max_age_s` None: 10."""

    name: str = "hook"
    host: str = "127.0.0.1"
    port: int = 8787
    path: str = "/hook"
    secret_env: str = "RINGFENCE_HOOK_SECRET"  # noqa: S105 (the name of a variable)
    """The variable with the shared secret."""
    scheme: str = "hmac"
    """`hmac`: HMAC-SHA256 over time stamp and body, in headers; `secret`: the secret within the body."""
    window_loop_s: float = 30.0
    """How far the sender's time stamp may be from this machine's clock."""


@attrs.frozen(kw_only=True)
class FileSource(SourceRules):
    """A file of JSON lines that others append to. `max_age_s` None: 60."""

    name: str = "file"
    path: str = ""
    from_start: bool = False
    """Whether lines that stand there at the first start count; signals are too old by then as a rule."""


Source: TypeAlias = HttpSource | WebSocketSource | WebhookSource | FileSource


@attrs.frozen(kw_only=True)
class FlowThreshold:
    """A figure of the options flow to watch: `[[thresholds]]`.

    `field` of `data` (`divergence`: `d_diff_short` …; `trades`: `trade_value`, `size`, …) goes over, or with
    `above` false under, `limit`. It fires when it crosses, not while it stays there.
    """

    name: str
    field: str
    limit: float
    data: str = "divergence"
    above: bool = True
    symbols: tuple[Symbol, ...] = ()
