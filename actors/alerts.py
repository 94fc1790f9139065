"""Alerts: what a person should know leaves the program, by as many channels as are configured.

`follow` is told of everything that the journal has written, in the writer's turn: it only notes. Each
channel is an actor of its own, so that one that hangs delays neither the others nor anything that trades.
Alarms are shown on standard error as well, unless the terminal shows them there already.

A channel that fails is itself an alarm, once for each outage, which it is not told itself. What it could
not send is kept while the service is out of reach, up to a limit of number and age; a message that the
service refuses is given up after some attempts. A message may arrive twice: if we die in the middle of it,
or if we end then and it takes longer than a second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

import attrs
import structlog
import trio

from actors.alert_senders import Delivered, Sender, sender_of
from actors.config_files import read_secret
from actors.known_secrets import clean_text
from protocol.alert_settings import AlertChannel, AlertKind, Loudness
from protocol.alerts import Alert, Listing, Outgoing, Throttle, alert_of, backoff_loop_s, told_kinds
from protocol.config import ConfigFaults
from protocol.control_events import KillLevelEvent, LockEvent
from protocol.events import AlarmEvent, BaseEvent, NotifyEvent
from protocol.redaction import Secret, escape

ATTEMPTS: Final = 3
KEEP_LOOP_S: Final = 600.0
"""How old an alert may become while its channel is out of reach."""
MAX_WAITING: Final = 100
"""Alerts that wait for one channel; older ones give way and are counted."""
FINISH_LOOP_S: Final = 3.0
IN_HAND_LOOP_S: Final = 1.0
"""How long the end of a run waits for what a channel is sending."""

CHANNEL_FAILED, CHANNEL_RECOVERED = "ALERT_CHANNEL_FAILED", "ALERT_CHANNEL_RECOVERED"

log = structlog.get_logger("alerts")
alarm_log = structlog.get_logger("alarm")


def open_channels(channels: Sequence[AlertChannel]) -> tuple[tuple[AlertChannel, Secret], ...]:
    """Each channel with its secret, an empty one where it needs none.

    `ConfigFaults` with all that are missing or cannot be used.
    """
    found: list[tuple[AlertChannel, Secret]] = []
    faults: list[str] = []
    for channel in channels:
        variable = channel.token_env or channel.url_env
        try:
            secret = Secret((read_secret(variable) or "") if variable else "")
            if variable and not secret:
                what = "token" if channel.kind is AlertKind.TELEGRAM else "address"
                faults.append(
                    f"alerts.{channel.name}: the {what} is expected in the environment as {variable}"
                )
            else:
                sender_of(channel, secret, "")
                found.append((channel, secret))
        except ConfigFaults as unreadable:
            faults += [f"alerts.{channel.name}: {fault}" for fault in unreadable.faults]
        except ValueError as unusable:
            faults.append(str(unusable))
    if faults:
        raise ConfigFaults(tuple(faults))
    return tuple(found)


class Alerts:
    """All channels of one run. Give `follow` to the journal, each channel's `run` to a supervisor."""

    def __init__(
        self,
        channels: Sequence[tuple[AlertChannel, Secret]],
        *,
        alarm: Callable[[str, str], None],
        origin: str,
        zone: str,
        random: Random,
        on_stderr: bool = True,
        way_out: Callable[[AlertChannel, Secret, str], Sender] = sender_of,
    ) -> None:
        """`alarm` journals an alarm of our own; `origin` says in each message which system it is.

        `on_stderr` False: a terminal shows alarms in the same place.
        """
        self.channels = tuple(
            Channel(settings, way_out(settings, secret, origin), tell=self._tell_of, random=random)
            for settings, secret in channels
        )
        self._alarm, self._zone, self._on_stderr = alarm, ZoneInfo(zone), on_stderr
        self._kinds = told_kinds([settings for settings, _ in channels])
        self._concerns: dict[type[BaseEvent], bool] = {}
        self._not_to: Channel | None = None
        self._ending = False

    def follow(self, _stream: str, events: Sequence[BaseEvent]) -> None:
        """What has just been written to the journal."""
        for event in events:
            kind = type(event)
            concerns = self._concerns.get(kind)
            if concerns is None:
                concerns = self._concerns[kind] = self._is_told(kind)
            if concerns:
                self._take(event)

    def _is_told(self, kind: type[BaseEvent]) -> bool:
        if issubclass(kind, AlarmEvent | KillLevelEvent | LockEvent | NotifyEvent):
            return True
        return any(each.__name__ in self._kinds for each in kind.__mro__)

    def _take(self, event: BaseEvent) -> None:
        alert = alert_of(event, self._zone)
        alert = attrs.evolve(alert, text=escape(clean_text(alert.text)))
        if alert.alarming and self._on_stderr:
            alarm_log.error(alert.text, code=alert.code, **({"symbol": alert.symbol} if alert.symbol else {}))
        for channel in self.channels:
            if channel is not self._not_to:
                channel.offer(alert, channel.listing.loudness(event))

    def _tell_of(self, channel: Channel, code: str, text: str) -> None:
        """A channel's own news: journalled, and told by the others; by itself only when it is back."""
        if self._ending:
            log.warning(text, code=code)
            return
        self._not_to = channel if code == CHANNEL_FAILED else None
        try:
            self._alarm(code, text)
        finally:
            self._not_to = None

    async def finish(self, code: int, reason: str) -> int:
        """Send what waits, for a bounded time; an end by another `code` than 0 is an alarm. Gives `code`."""
        self._ending = True
        if code:
            failed = Alert(code="RUN_FAILED", text=escape(clean_text(f"the run ends with {code}: {reason}")))
            for channel in self.channels:
                channel.offer(failed, channel.listing.loudness_of_code(failed.code))
        with trio.move_on_after(FINISH_LOOP_S, shield=True):
            async with trio.open_nursery() as nursery:
                for channel in self.channels:
                    nursery.start_soon(channel.send_rest)
        for channel in self.channels:
            if channel.waiting:
                log.warning("alerts were not sent", channel=channel.name, count=channel.waiting)
        return code


@attrs.frozen
class ChannelCounts:
    """Of one channel, since it was made. `unsent` were refused, or became too old, or too many."""

    sent: int
    unsent: int
    failures: int


class Channel:
    """One way out, and what waits for it."""

    def __init__(
        self,
        settings: AlertChannel,
        sender: Sender,
        *,
        tell: Callable[[Channel, str, str], None],
        random: Random,
    ) -> None:
        self.name = settings.name
        self.listing = Listing(settings)
        self._sender, self._tell, self._random = sender, tell, random
        self._throttle = Throttle(settings.max_per_min)
        self._waiting: deque[Outgoing] = deque()
        self._hand: Outgoing | None = None
        self._news, self._stop = trio.Event(), trio.Event()
        self._out_since: float | None = None
        self._unsent_in_outage = 0
        self._sent = self._unsent = self._failures = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting) + (self._hand is not None)

    @property
    def failing(self) -> bool:
        """Whether the last attempts have failed, and an alarm says so."""
        return self._out_since is not None

    def counts(self) -> ChannelCounts:
        return ChannelCounts(self._sent, self._unsent, self._failures)

    def offer(self, alert: Alert, loudness: Loudness) -> None:
        """Leave an alert; never waits."""
        if loudness is Loudness.OFF:
            return
        now = trio.current_time()
        outgoing = self._throttle.offer(alert, silent=loudness is Loudness.SILENT, loop_s=now)
        if outgoing is not None:
            self._waiting.append(outgoing)
            if len(self._waiting) > MAX_WAITING:
                self._lose(self._waiting.popleft())
        self._news.set()

    async def run(
        self, _epoch: int = 0, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Send what is offered, until it is to stop."""
        self._stop = trio.Event()
        task_status.started()
        while True:
            await self._wait()
            if self._stop.is_set():
                return
            await self._send_next()

    def stop(self) -> None:
        """Begin no other message: `run` ends once the one that it is sending has arrived, or has not."""
        self._stop.set()
        self._news.set()

    async def send_rest(self) -> None:
        """Send what waits, and what was held back, and end. To be called when `run` has ended."""
        self._stop = trio.Event()
        rest = self._throttle.held(trio.current_time())
        if rest is not None:
            self._waiting.append(rest)
        while self._hand is not None or self._waiting:
            await self._send_next()

    async def _wait(self) -> None:
        """Until there is something to send."""
        while self._hand is None and not self._waiting and not self._stop.is_set():
            with trio.move_on_at(self._throttle.next_due_loop_s):
                await self._news.wait()
            self._news = trio.Event()
            held = self._throttle.due(trio.current_time())
            if held is not None:
                self._waiting.append(held)

    async def _send_next(self) -> None:
        # In hand until it is settled: what a death or the end interrupts is sent again.
        outgoing = self._hand = self._hand or self._waiting.popleft()
        failures = 0
        while True:
            delivery = await self._sender.send(outgoing.alert, silent=outgoing.silent)
            if isinstance(delivery, Delivered):
                break
            failures += 1
            self._failures += 1
            if failures >= ATTEMPTS or self.failing:
                self._note_outage(delivery.why)
                too_old = trio.current_time() - outgoing.offered_loop_s > KEEP_LOOP_S
                if delivery.refused or too_old:
                    self._hand = None
                    self._lose(outgoing)
                    return
            wait_loop_s = backoff_loop_s(failures, self._random.random())
            with trio.move_on_after(max(wait_loop_s, delivery.retry_after_loop_s)):
                await self._stop.wait()
                return
        self._hand = None
        self._sent += 1
        self._note_recovery()

    def _lose(self, outgoing: Outgoing) -> None:
        self._unsent += 1
        self._unsent_in_outage += 1
        log.warning("an alert was not sent", channel=self.name, code=outgoing.alert.code)

    def _note_outage(self, why: str) -> None:
        if self._out_since is None:
            self._out_since = trio.current_time()
            self._unsent_in_outage = 0
            self._tell(self, CHANNEL_FAILED, f"alerts by {self.name} do not arrive: {why}")

    def _note_recovery(self) -> None:
        if self._out_since is None:
            return
        lasted_s, self._out_since = trio.current_time() - self._out_since, None
        lost = f"; {self._unsent_in_outage} given up" if self._unsent_in_outage else ""
        self._tell(
            self, CHANNEL_RECOVERED, f"alerts by {self.name} arrive again after {lasted_s:.0f} s{lost}"
        )
