"""Where alarms go, as the user configures it: `[alerts.NAME]`, any number of channels."""

from __future__ import annotations

import enum

import attrs


class AlertKind(enum.Enum):
    """Each of the last two is one HTTP POST of that service's form."""

    WEBHOOK = "webhook"
    COMMAND = "command"
    TELEGRAM = "telegram"
    DISCORD = "discord"


class Loudness(enum.Enum):
    ON = "on"
    OFF = "off"
    SILENT = "silent"
    """Delivered without a sound, where the channel knows the difference."""


@attrs.frozen(kw_only=True)
class AlertChannel:
    """One way out; nothing ever comes in by it. Secrets are in the environment.

    `events` says for alarm codes, or the names of event types (`NotifyEvent`, `PositionCloseEvent`), how
    loud they are; `default` is for alarms that are not listed. Other events are off unless listed.
    """

    name: str
    kind: AlertKind
    url: str = ""
    url_env: str = ""
    """A variable that holds the address, where the address is itself a secret (Discord, most webhooks)."""
    token_env: str = ""
    """Telegram: the bot's token."""
    chat: str = ""
    """Telegram: the chat's id."""
    command: tuple[str, ...] = ()
    """Program and arguments; it reads the alert as JSON from its standard input."""
    default: Loudness = Loudness.ON
    events: tuple[tuple[str, Loudness], ...] = ()
    max_per_min: int = 20
    """More are counted and told in one message."""
    timeout_loop_s: float = 10.0
