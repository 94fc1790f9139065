"""A feed that pushes predictions over a websocket: connect, subscribe, listen, and all of it again.

Whatever the feed does, the source stays up and says so once: a lost connection is made anew after a
growing wait, one bad message is refused and a hundred in a row end the connection, silence ends it too.
After a reconnect, and after a restart, the feed is asked to go on where it was left; what it sends twice
is known by its id. Everything here is loop time, except the age of signals.
"""

from __future__ import annotations

import math
import ssl
from collections.abc import Iterable
from random import Random
from typing import assert_never

import attrs
import httpx2
import trio

from actors.intake import CLOCK_GLANCE_LOOP_S, Desk, Intake, Marks
from actors.market_clock import MarketClock
from actors.signal_desk import SourceStatistics
from actors.websocket_connection import Ending, FeedConnection, check_token, read_feed_url
from protocol.allowances import Bucket
from protocol.events import PredictionSignalEvent, SignalVerdictEvent
from protocol.feed_messages import (
    Aside,
    BadMessage,
    FeedSequence,
    Predictions,
    SeqCounts,
    SeqNews,
    fill_subscription,
    read_message,
)
from protocol.health import HealthState
from protocol.redaction import Secret
from protocol.signal_gate import MALFORMED, Judgement
from protocol.source_health import SourceHealth, TroubleKind
from protocol.source_settings import WebSocketSource
from protocol.supervision_plan import Backoff

MAX_AGE_S = 10.0
"""Of a pushed signal, in market seconds: its way here takes a fraction of one."""
HANDSHAKE_LOOP_S = 10.0
"""For the connection, and once more for the handshake and the subscription."""
MAX_BAD_IN_A_ROW = 100
PACE = (400, 200.0)
"""Predictions that are taken at once, and a second in the long run; a feed that brings more is read more
slowly, and trading goes on."""
SAVE_LOOP_S = 1.0
"""How old the saved sequence number may be: after a crash so much is asked for twice."""
RECONNECT = Backoff(min_loop_s=0.5, max_loop_s=30.0, healthy_after_loop_s=10.0)
_FEED = ""
"""The one name under which `SourceHealth` knows a feed: it has no tickers of its own."""
_ODD_NUMBERS = {
    SeqNews.GAP: ("signals_gap", "its sequence numbers have a gap: messages are missing"),
    SeqNews.LATE: ("signals_reordered", "its messages come out of order"),
    SeqNews.REPEATED: ("signals_repeated", "it sends messages again"),
    SeqNews.RESTARTED: ("signals_renumbered", "its sequence numbers begin anew"),
}


class WebSocketSignals:
    """One feed. `marks` keeps the last sequence number; `tickers` are what it is asked for."""

    def __init__(
        self,
        settings: WebSocketSource,
        secret: Secret,
        *,
        desk: Desk,
        clock: MarketClock,
        tickers: Iterable[str],
        random: Random,
        marks: Marks,
        pace: tuple[int, float] = PACE,
        reconnect: Backoff = RECONNECT,
        handshake_loop_s: float = HANDSHAKE_LOOP_S,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`tls` None: what the system trusts. ValueError when the URL or the token cannot be used."""
        check_token(secret.reveal())
        self._address = read_feed_url(settings.url)
        self._settings, self._secret, self._clock = settings, secret, clock
        self._intake = Intake(settings, desk=desk, clock=clock, tickers=tickers, max_age_s=MAX_AGE_S)
        self._random, self._marks, self._reconnect = random, marks, reconnect
        self._handshake_loop_s, self._tls = handshake_loop_s, tls
        self._sequence: FeedSequence | None = None
        self._bucket = Bucket(*pace)
        self._health = SourceHealth()
        self._connection: FeedConnection | None = None
        self._opened_loop = math.inf
        self._last_ending: Ending | None = None
        self._bad_in_a_row = 0
        self._saved: str | None = None
        self._saved_loop = -math.inf

    def statistics(self) -> SourceStatistics:
        return self._intake.copy_statistics()

    def sequence_counts(self) -> SeqCounts:
        """What the feed's numbers told so far."""
        return SeqCounts() if self._sequence is None else attrs.evolve(self._sequence.counts)

    def health(self) -> tuple[str, str]:
        if self._connection is not None and self._opened_loop < math.inf:
            return HealthState.OK.value, ""
        if self._last_ending is None:
            return HealthState.WAITING.value, "no connection yet"
        return HealthState.DOWN.value, f"{self._last_ending.text}; it is tried again, trading goes on"

    def set_tickers(self, tickers: Iterable[str]) -> None:
        """Ask for other tickers from now on: the subscription is sent anew."""
        self._intake.set_tickers(tickers)
        if self._connection is not None and self._opened_loop < math.inf:
            self._connection.say(self._subscription())

    async def run(self, epoch: int, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled. `epoch` counts the starts of this actor."""
        del epoch  # what the desk has seen it knows, whichever incarnation brought it
        await self._intake.ready()
        if self._sequence is None:
            self._sequence = FeedSequence(self._read_mark())
        if self._address.tls and self._tls is None:
            # Reading the certificates takes 100 ms and more: not on the loop that trades.
            self._tls = await trio.to_thread.run_sync(httpx2.create_ssl_context, abandon_on_cancel=True)
        task_status.started()
        while not self._clock.known:
            await trio.sleep(CLOCK_GLANCE_LOOP_S)
        failures = 0
        while True:
            was_healthy, ending = await self._connect_once()
            failures = 1 if was_healthy else failures + 1
            self._note_ending(ending)
            await trio.sleep(self._reconnect.delay_s(failures, self._random.random()))

    async def _connect_once(self) -> tuple[bool, Ending]:
        """Make a connection and listen to its end; whether it was a healthy one."""
        self._intake.statistics.polls += 1
        self._bad_in_a_row = 0
        self._connection = FeedConnection(
            self._address,
            self._secret.reveal(),
            self._settings,
            self,
            tls=self._tls,
            handshake_loop_s=self._handshake_loop_s,
        )
        try:
            ending = await self._connection.run()
            return self._is_healthy(), ending
        finally:
            self._connection, self._opened_loop = None, math.inf
            self._save_mark()

    def _is_healthy(self) -> bool:
        return trio.current_time() - self._opened_loop >= self._reconnect.healthy_after_loop_s

    # --- what the connection tells ----------------------------------------------------------------

    def opened(self) -> str:
        assert self._sequence is not None
        self._opened_loop = trio.current_time()
        self._sequence.begin_connection()
        return self._subscription()

    def alive(self) -> None:
        """Troubles are over once a connection has stayed up, not with each one that comes about."""
        if self._is_healthy():
            for kind in self._health.note_success(_FEED):
                self._intake.alarm("signals_recovered", f"{kind.value} is over")

    async def heard(self, message: str | bytes) -> Ending | None:
        """Take one message, at the pace that trading allows; an ending past too many bad ones."""
        said = read_message(message)
        match said:
            case Predictions():
                bad = await self._take(said)
            case BadMessage():
                bad = True
                content = message.encode() if isinstance(message, str) else message
                self._intake.refuse_unreadable(f"a message that {said.reason}", content)
            case Aside():
                self._note_number(said.seq, brought_news=False)
                return None
            case _:
                assert_never(said)
        self._bad_in_a_row = self._bad_in_a_row + 1 if bad else 0
        if self._bad_in_a_row < MAX_BAD_IN_A_ROW:
            return None
        return Ending(TroubleKind.BAD_BODY, f"{MAX_BAD_IN_A_ROW} messages in a row were no predictions")

    async def _take(self, said: Predictions) -> bool:
        """Have its predictions judged; whether there was nothing but junk in it."""
        judgements = []
        for body in said.bodies:
            while not self._bucket.take(trio.current_time()):
                await trio.sleep(self._bucket.wait_loop_s(trio.current_time()))
            judgements.append(self._intake.take(body))
        # The number after its predictions: what is asked for again after a crash is known by its ids.
        self._note_number(said.seq, brought_news=any(map(_is_news, judgements)))
        return bool(judgements) and all(map(_is_junk, judgements))

    def _note_number(self, seq: int | None, *, brought_news: bool) -> None:
        if seq is None:
            return
        assert self._sequence is not None
        odd = _ODD_NUMBERS.get(self._sequence.note(seq, brought_news=brought_news))
        if odd is not None:
            code, text = odd
            self._intake.alarm_once(code, f"{text}; this is told once and counted from here on")
        if trio.current_time() >= self._saved_loop + SAVE_LOOP_S:
            self._save_mark()

    def _subscription(self) -> str:
        assert self._sequence is not None
        return fill_subscription(self._settings.subscribe, self._intake.tickers, self._sequence.resume_after)

    # --- how it is doing --------------------------------------------------------------------------

    def _note_ending(self, ending: Ending) -> None:
        self._last_ending = ending
        self._intake.statistics.troubles += 1
        if self._health.note_failure(_FEED, ending.kind):
            text = f"{ending.text}; trading goes on, signals may be missing"
            self._intake.alarm(f"signals_{ending.kind.value}", text)

    # --- where it left off ------------------------------------------------------------------------

    def _read_mark(self) -> int | None:
        self._saved = self._marks.get_meta(self._mark_key)
        return None if self._saved is None else int(self._saved)

    def _save_mark(self) -> None:
        mark = None if self._sequence is None else self._sequence.resume_after
        self._saved_loop = trio.current_time()
        if mark is not None and str(mark) != self._saved:
            self._saved = str(mark)
            self._marks.set_meta(self._mark_key, self._saved)

    @property
    def _mark_key(self) -> str:
        return f"feed_seq:{self._settings.name}"


def _is_news(judgement: Judgement) -> bool:
    return any(isinstance(event, PredictionSignalEvent) for event in judgement.events)


def _is_junk(judgement: Judgement) -> bool:
    return any(
        isinstance(event, SignalVerdictEvent) and event.code == MALFORMED for event in judgement.events
    )
