"""Secrets show themselves to nobody, and what is known to be one is in no text."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime
from urllib.parse import quote_plus

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import control_events, events
from protocol.config import canonical
from protocol.events import ActorExitedEvent, AlarmEvent, BaseEvent, FillEvent, UserEvent
from protocol.journal import KINDS
from protocol.redaction import (
    FREE_TEXT,
    MIN_KNOWN_LENGTH,
    REDACTED,
    Redactor,
    Secret,
    escape,
    shorten_accounts,
    shorten_addresses,
)

CANARY = "canary-7f3a91"
AT = datetime(2025, 3, 12, 14, 0, tzinfo=UTC)


@attrs.frozen
class Holder:
    key: Secret
    name: str = "flow"


@pytest.mark.parametrize(
    "shown",
    [
        repr(Secret(CANARY)),
        str(Secret(CANARY)),
        f"{Secret(CANARY)}",
        f"{Secret(CANARY):>40}",
        f"{Secret(CANARY)!r}",
        "%s" % Secret(CANARY),  # noqa: UP031 (one of the ways to show it)
        repr(Holder(Secret(CANARY))),
        repr([{"key": Secret(CANARY)}]),
    ],
)
def test_no_way_of_showing_a_secret_shows_it(shown: str) -> None:
    assert CANARY not in shown


def test_a_secret_gives_itself_away_only_when_asked_by_name() -> None:
    secret = Secret(CANARY)
    assert secret.reveal() == CANARY
    assert (secret == Secret(CANARY), secret == Secret("other"), secret == CANARY) == (True, False, False)
    assert bool(secret)
    assert not Secret("")


@pytest.mark.parametrize("keep", [pickle.dumps, copy.deepcopy, orjson.dumps, canonical])
def test_a_secret_goes_into_nothing_that_is_kept(keep: object) -> None:
    with pytest.raises(TypeError) as caught:
        keep(Holder(Secret(CANARY)).key)  # type: ignore[operator]
    assert CANARY not in str(caught.value)


SECRETS = st.text(min_size=MIN_KNOWN_LENGTH, max_size=40).filter(lambda text: text not in REDACTED)
SPELLINGS = st.sampled_from(
    [str, repr, quote_plus, lambda text: orjson.dumps(text).decode(), lambda text: repr({"k": text})]
)


@given(SECRETS.filter(str.isascii), SPELLINGS, st.text(max_size=10), st.text(max_size=10))
@pytest.mark.slow
def test_a_known_secret_is_in_no_text_however_it_is_spelled(
    secret: str, spell: object, before: str, after: str
) -> None:
    redactor = Redactor()
    redactor.know(secret)
    text = before + spell(secret) + after  # type: ignore[operator]
    assert secret not in redactor.clean(text).replace(REDACTED, "\0")


@given(st.text(max_size=50))
def test_without_a_known_secret_nothing_changes(text: str) -> None:
    assert Redactor().clean(text) == text


def test_what_is_too_short_to_be_a_secret_is_left_in_words() -> None:
    redactor = Redactor()
    redactor.know("stop")
    assert redactor.clean("a stop is a stop") == "a stop is a stop"


def test_of_two_secrets_of_which_one_begins_the_other_nothing_is_left() -> None:
    redactor = Redactor()
    redactor.know("canary")
    redactor.know("canary-long")
    assert redactor.clean("is canary-long or canary") == f"is {REDACTED} or {REDACTED}"


def test_free_text_of_events_is_cleaned_and_what_programs_go_by_is_not() -> None:
    redactor = Redactor()
    redactor.know(CANARY)
    alarm = AlarmEvent(at=AT, code=CANARY, text=f"key {CANARY} is refused")
    assert redactor.clean_event(alarm) == attrs.evolve(alarm, text=f"key {REDACTED} is refused")
    exited = ActorExitedEvent(
        at=AT, actor="signals:flow", epoch=1, exit="crash", decision="restart", delay_s=0.0,
        reason=f"ValueError: {CANARY}",
    )  # fmt: skip
    assert redactor.clean_event(exited) == attrs.evolve(exited, reason=f"ValueError: {REDACTED}")
    clean = AlarmEvent(at=AT, code="LATE_FILL", text="nothing secret")
    assert redactor.clean_event(clean) is clean
    other = UserEvent(at=AT, name="note", text=CANARY)
    assert redactor.clean_event(other) is other


def test_the_table_of_free_texts_names_fields_that_exist_and_are_texts() -> None:
    for kind, names in FREE_TEXT.items():
        fields = attrs.fields_dict(kind)
        assert [name for name in names if fields[name].type not in (str, "str")] == [], kind


TEXTS_OF_PEOPLE = frozenset({"text", "reason", "why", "sentence", "detail", "outcome", "arguments"})


def test_every_system_event_has_its_texts_for_people_in_that_table() -> None:
    """A new event of the system that tells a person something must say so there."""
    of_system = [kind for kind in KINDS.values() if issubclass(kind, events.SystemEvent)]
    forgotten = [
        (kind.__name__, name)
        for kind in of_system
        for name in attrs.fields_dict(kind)
        if name in TEXTS_OF_PEOPLE and name not in FREE_TEXT.get(kind, ())
    ]
    assert forgotten == []
    assert control_events.LockEvent in of_system


def test_orders_and_fills_pass_untouched() -> None:
    assert [kind for kind in FREE_TEXT if issubclass(kind, events.OrderEvent | FillEvent)] == []
    assert all(issubclass(kind, BaseEvent) for kind in FREE_TEXT)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://u:p@host.com/a/b?key=1&x=2 failed", "GET https://host.com/a/b?… failed"),
        ("'http://127.0.0.1:80/hook?token=1'", "'http://127.0.0.1:80/hook?…'"),
        ("wss://feed.example/x, and more", "wss://feed.example/x, and more"),
        ("nothing", "nothing"),
        ("https://token@host", "https://host"),
    ],
)
def test_addresses_are_shown_without_user_password_and_query(text: str, shown: str) -> None:
    assert shorten_addresses(text) == shown


def test_account_numbers_are_shortened_to_the_letters_that_tell_paper_from_live() -> None:
    assert shorten_accounts("DU1234567, U7654321 and DF1234567") == "DU…, U… and DF…"
    assert shorten_accounts("AU12345 12345678 U12 EU1234567") == "AU12345 12345678 U12 EU1234567"


@given(st.text())
def test_what_is_escaped_is_one_printable_line(text: str) -> None:
    assert escape(text).isprintable()


def test_escapes_say_what_was_there() -> None:
    assert escape("a\r\nb\x1b[31mé…") == "a\\r\\nb\\x1b[31mé…"
