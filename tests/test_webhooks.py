"""What a webhook receiver decides: whom it can trust, what a post means, how much is let in."""

from __future__ import annotations

from datetime import timedelta

import pytest

from protocol.allowances import MAX_SENDERS, Allowances, Bucket
from protocol.charting_posts import SAME_POST_S, PostReader
from protocol.redaction import Secret
from protocol.source_settings import WebhookSource
from protocol.webhooks import MAX_REMEMBERED, Doubt, Fault, SignatureCheck, check_webhook, sign
from tests.feeds import START

SECRET = "canary-secret-0123456789"

# --- who is believed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "secret"),
    [
        ({"scheme": "none"}, SECRET),
        ({}, "short"),
        ({}, ""),
        ({}, "naïve secret, long enough"),
        ({"scheme": "secret", "host": "0.0.0.0"}, SECRET),
        ({"path": "hook"}, SECRET),
        ({"window_loop_s": 0.0}, SECRET),
    ],
)
def test_a_receiver_that_could_not_be_trusted_is_not_made(changes: dict[str, object], secret: str) -> None:
    with pytest.raises(ValueError, match="webhook") as caught:
        check_webhook(WebhookSource(**changes), secret)  # type: ignore[arg-type]
    assert secret not in str(caught.value) or secret == ""


def test_another_host_may_be_served_with_signatures() -> None:
    check_webhook(WebhookSource(host="0.0.0.0"), SECRET)


def test_signatures_are_remembered_as_long_as_they_could_be_believed_and_no_longer() -> None:
    check = SignatureCheck(Secret(SECRET), 30.0)
    for number in range(MAX_REMEMBERED):
        stamp = f"{1000 + number % 30}"
        body = f"{number}".encode()
        assert check.doubt(stamp, sign(SECRET, stamp, body), body, wall_s=1015.0) is None
        check.use_up(stamp, sign(SECRET, stamp, body))
    full = check.doubt("1015", sign(SECRET, "1015", b"new"), b"new", wall_s=1015.0)
    assert full is not None
    assert full.fault is Fault.NOT_NOW
    assert check.doubt("1100", sign(SECRET, "1100", b"new"), b"new", wall_s=1100.0) is None


# --- what is understood ---------------------------------------------------------------------------


def charted(**changes: object) -> dict[str, object]:
    return {"ticker": "SLV", "action": "buy", **changes}


@pytest.mark.parametrize(
    ("body", "understood"),
    [
        (charted(), {"signal": "BUY", "confidence": 1.0, "timestamp": 1549897200000}),
        (charted(action="Sell"), {"signal": "SELL"}),
        (charted(action="SHORT"), {"signal": "SHORT"}),
        ({"symbol": "GLD", "action": "long"}, {"ticker": "GLD", "signal": "BUY"}),
        (charted(time="2019-02-11T10:00:05-05:00"), {"timestamp": 1549897205000}),
        (charted(time="2019-02-11T15:00:05Z"), {"timestamp": 1549897205000}),
        (charted(time=1549897205), {"timestamp": 1549897205000}),
        (charted(time="1549897205123"), {"timestamp": 1549897205123}),
        (charted(time=1549897205, id="mine"), {"id": "mine"}),
        (charted(time=1549897205), {"id": "SLV-BUY-1549897205000"}),
        (charted(price="14.85", confidence="0.7"), {"stock_price": 14.85, "confidence": 0.7}),
        (charted(id=7), {"id": 7}),
    ],
)
def test_a_charting_services_post_becomes_a_prediction(
    body: dict[str, object], understood: dict[str, object]
) -> None:
    read = PostReader().read(body, sent_at=START)
    assert isinstance(read, dict)
    assert {name: read[name] for name in understood} == understood


@pytest.mark.parametrize(
    "body",
    [
        charted(action="hold"),
        charted(action=1),
        charted(ticker=5),
        charted(symbol="SLV"),
        {"action": "buy"},
        charted(time="10:00"),
        charted(time="2019-02-11T10:00:05"),
        charted(time=None),
        charted(time=[1]),
        charted(price="cheap"),
        charted(price=True),
        charted(confidence="nan"),
        charted(confidense=0.2),
        [],
        "buy SLV",
        None,
    ],
)
def test_what_is_not_quite_a_post_is_refused_with_a_sentence(body: object) -> None:
    read = PostReader().read(body, sent_at=START)
    assert isinstance(read, Doubt)
    assert (read.fault, bool(read.reason)) == (Fault.UNREADABLE, True)


def test_equal_posts_without_time_and_id_are_one_signal_for_a_minute() -> None:
    reader = PostReader()

    def read(after_s: float, **changes: object) -> object:
        return reader.read(charted(**changes), sent_at=START + timedelta(seconds=after_s))

    first = read(59.0)
    assert read(60.5) == read(59.0 + SAME_POST_S) == first
    other = read(61.0, price=15)
    assert isinstance(first, dict)
    assert isinstance(other, dict)
    assert other["id"] != first["id"]
    later = read(59.5 + SAME_POST_S)
    assert isinstance(later, dict)
    assert later["id"] != first["id"]


# --- how much is let in ---------------------------------------------------------------------------


def test_a_bucket_gives_its_burst_at_once_and_then_its_rate() -> None:
    bucket = Bucket(3, 2.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert bucket.wait_loop_s(10.0) == 0.5
    assert [bucket.take(10.5), bucket.take(10.5)] == [True, False]
    assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]


def test_one_sender_cannot_use_up_what_another_has_and_all_together_have_a_limit() -> None:
    allowances = Allowances((5, 1.0), (2, 1.0))
    assert [allowances.take("a", 0.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert [allowances.take("b", 0.0) for _ in range(2)] == [0.0, 0.0]
    assert [allowances.take("c", 0.0) for _ in range(2)] == [0.0, 1.0]
    assert allowances.take("c", 1.0) == 0.0


def test_however_many_senders_there_are_few_are_remembered() -> None:
    allowances = Allowances((10**6, 1.0), (1, 1.0))
    for number in range(10 * MAX_SENDERS):
        assert allowances.take(f"{number}", 0.0) == 0.0
    assert allowances.take(f"{10 * MAX_SENDERS - 1}", 0.0) > 0
    assert allowances.senders == MAX_SENDERS
