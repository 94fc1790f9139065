"""`[alerts.NAME]`: the ways out for alarms, read and checked. Secrets are named here, never written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, assert_never
from urllib.parse import urlsplit

from protocol.alert_settings import AlertChannel, AlertKind, Loudness
from protocol.config_reading import COUNT, POSITIVE, Table, suggest
from protocol.journal import KINDS

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_CODE = re.compile(r"[a-z][a-z0-9_]*|[A-Z][A-Z0-9_]*")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SECRET_KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "token": "token_env",
        "bot_token": "token_env",
        "password": "url_env",
        "secret": "url_env",
        "key": "url_env",
    }
)
_KEYS: Final[Mapping[AlertKind, tuple[str, ...]]] = MappingProxyType(
    {
        AlertKind.WEBHOOK: ("url", "url_env"),
        AlertKind.COMMAND: ("command",),
        AlertKind.TELEGRAM: ("token_env", "chat", "url"),
        AlertKind.DISCORD: ("url_env",),
    }
)
"""Where each kind finds its destination; a key of another kind is a fault."""


def read_alerts(table: Table) -> tuple[AlertChannel, ...]:
    """One table for each channel, in the order of the file."""
    channels = []
    for name in table.names:
        inner = table.table(name)
        if inner is not None:
            channels.append(_read_channel(name, inner))
    return tuple(channels)


def _read_channel(name: str, table: Table) -> AlertChannel:
    default = AlertChannel(name=name, kind=AlertKind.WEBHOOK)
    if not _NAME.fullmatch(name):
        table.fault("kind", f'"{name}" is no name for a channel: small letters, digits, - and _, at most 32')
    before = table.fault_count
    if not table.has("kind"):
        table.fault("kind", "is missing: expected " + " or ".join(f'"{kind.value}"' for kind in AlertKind))
    kind = table.choice("kind", default.kind, AlertKind)
    known = table.fault_count == before
    _refuse_strangers(table, kind if known else None)
    channel = AlertChannel(
        name=name,
        kind=kind,
        url=table.text("url", default.url).rstrip("/"),
        url_env=table.text("url_env", default.url_env),
        token_env=table.text("token_env", default.token_env),
        chat=_chat(table),
        command=table.texts("command", default.command),
        default=table.choice("default", default.default, Loudness),
        events=_read_events(table),
        max_per_min=table.integer("max_per_min", default.max_per_min, COUNT),
        timeout_loop_s=table.number("timeout_loop_s", default.timeout_loop_s, POSITIVE),
    )
    for key in ("url_env", "token_env"):
        value = getattr(channel, key)
        if value and not _VARIABLE.fullmatch(value):
            table.expected(key, "the name of an environment variable (A-Z, 0-9 and _)")
    if known:
        _check_destination(table, channel)
    table.close()
    return channel


def _refuse_strangers(table: Table, kind: AlertKind | None) -> None:
    """Keys of other kinds, and secrets that were written into the file."""
    for key, instead in _SECRET_KEYS.items():
        if key in table.names:
            table.refuse(key, f"a secret does not belong here: name an environment variable in {instead}")
    if kind is None:
        return
    for key in sorted({key for keys in _KEYS.values() for key in keys} - set(_KEYS[kind])):
        if key == "url" and kind is AlertKind.DISCORD:
            table.refuse(key, "this address is a secret: name an environment variable in url_env")
        else:
            table.refuse(key, f'has no meaning for kind "{kind.value}"; it knows: {", ".join(_KEYS[kind])}')


def _chat(table: Table) -> str:
    """Telegram's ids of chats are numbers, negative ones for groups, or `@name`; both spellings are taken."""
    value = table.value("chat")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return table.text("chat", "")


def _read_events(table: Table) -> tuple[tuple[str, Loudness], ...]:
    inner = table.table("events")
    if inner is None:
        return ()
    found = []
    for code in inner.names:
        if code in KINDS or _CODE.fullmatch(code):
            found.append((code, inner.choice(code, Loudness.ON, Loudness)))
        else:
            inner.refuse(
                code, f"is neither an alarm's code nor the name of an event type{suggest(code, tuple(KINDS))}"
            )
    return tuple(found)


def _check_destination(table: Table, channel: AlertChannel) -> None:
    match channel.kind:
        case AlertKind.WEBHOOK:
            if bool(channel.url) == bool(channel.url_env):
                table.fault("url", "expected either url, or url_env with the variable that holds the address")
        case AlertKind.DISCORD:
            if not channel.url_env:
                table.fault(
                    "url_env", "is missing: the variable that holds the address of the Discord webhook"
                )
        case AlertKind.TELEGRAM:
            if not channel.token_env:
                table.fault("token_env", "is missing: the variable that holds the token of the bot")
            if not re.fullmatch(r"-?\d+|@\w+", channel.chat):
                table.fault("chat", "expected the id of a chat: a number, or @name")
        case AlertKind.COMMAND:
            if not channel.command or not channel.command[0]:
                table.fault(
                    "command", 'is missing: a list of program and arguments, like ["notify-send", "alarm"]'
                )
    problem = address_fault(channel.url) if channel.url else ""
    if problem:
        table.fault("url", problem)


def address_fault(url: str, *, secret: bool = False) -> str:
    """Why nothing may be sent there; "" when it may: https, or http to this machine.

    A secret address may carry more than host and path. The address itself is not in the text.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "expected an address like https://HOST/path"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "expected an address like https://HOST/path"
    if parts.username or parts.password or parts.fragment or (parts.query and not secret):
        return "holds more than an address; put it into the variable that url_env names"
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        return "http is accepted for this machine only; use https"
    return ""


def describe_channel(channel: AlertChannel) -> str:
    """One line for `--check`: where alarms go, without anything secret."""
    match channel.kind:
        case AlertKind.WEBHOOK:
            to = channel.url or f"the address in {channel.url_env}"
        case AlertKind.DISCORD:
            to = f"the address in {channel.url_env}"
        case AlertKind.TELEGRAM:
            to = f"chat {channel.chat}, token in {channel.token_env}"
        case AlertKind.COMMAND:
            to = channel.command[0] if channel.command else ""
        case never:
            assert_never(never)
    listed = "".join(f", {code} {loudness.value}" for code, loudness in channel.events)
    return (
        f"{channel.name}: {channel.kind.value} to {to}; alarms {channel.default.value}{listed}; "
        f"at most {channel.max_per_min} a minute"
    )
