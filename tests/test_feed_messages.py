"""What the numbers of a feed tell, and what is asked for again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from protocol.feed_messages import (
    MAX_MISSING,
    Aside,
    BadMessage,
    FeedSequence,
    Predictions,
    SeqNews,
    fill_subscription,
    read_message,
)


def test_the_number_of_a_message_is_no_part_of_its_prediction() -> None:
    plain = read_message('{"ticker": "SLV"}')
    assert plain == Predictions(({"ticker": "SLV"},))
    assert read_message('{"ticker": "SLV", "seq": 7}') == Predictions(({"ticker": "SLV"},), 7)
    assert read_message('{"type": "prediction", "data": {"ticker": "SLV"}, "seq": 8}') == Predictions(
        ({"ticker": "SLV"},), 8
    )
    assert read_message('{"type": "ping", "seq": 9}') == Aside(9)


@given(st.text(max_size=200) | st.binary(max_size=50))
def test_any_message_is_read_as_something(message: str | bytes) -> None:
    assert isinstance(read_message(message), Predictions | Aside | BadMessage)


def test_a_subscription_names_tickers_and_the_last_number_in_any_text() -> None:
    text = '{"tickers": {tickers_json}, "list": "{tickers}", "after": {last_seq}, "other": {}}'
    assert fill_subscription(text, ("SLV", "GLD"), 7) == (
        '{"tickers": ["SLV","GLD"], "list": "SLV,GLD", "after": 7, "other": {}}'
    )
    assert fill_subscription("{last_seq}", (), None) == "0"


def test_what_is_missing_is_asked_for_until_the_feed_has_gone_on_without_it() -> None:
    sequence = FeedSequence()
    assert [sequence.note(seq, brought_news=True) for seq in (1, 2, 5)] == [
        SeqNews.NEXT, SeqNews.NEXT, SeqNews.GAP
    ]  # fmt: skip
    assert sequence.begin_connection() == 2
    # That connection brought nothing, and the next one only a part.
    assert sequence.begin_connection() == 2
    assert sequence.note(3, brought_news=True) is SeqNews.LATE
    assert sequence.begin_connection() == 3
    assert sequence.note(5, brought_news=False) is SeqNews.REPEATED
    assert sequence.note(6, brought_news=True) is SeqNews.NEXT
    assert sequence.begin_connection() == 6


def test_an_old_number_with_a_new_prediction_means_that_the_feed_counts_anew() -> None:
    sequence = FeedSequence(700)
    assert sequence.note(3, brought_news=False) is SeqNews.REPEATED
    assert sequence.note(1, brought_news=True) is SeqNews.RESTARTED
    assert sequence.note(2, brought_news=True) is SeqNews.NEXT
    assert sequence.resume_after == 2


def test_a_gap_as_wide_as_the_numbers_go_takes_no_memory() -> None:
    sequence = FeedSequence()
    sequence.note(0, brought_news=True)
    assert sequence.note(2**63 - 1, brought_news=True) is SeqNews.GAP
    assert sequence.counts.missing == 2**63 - 2
    assert sequence.resume_after == 2**63 - 2 - MAX_MISSING


@given(st.lists(st.integers(0, 30)), st.lists(st.integers(0, 60)))
def test_everything_up_to_where_it_resumes_has_come_or_was_asked_for_in_vain(
    seqs: list[int], reconnects: list[int]
) -> None:
    sequence = FeedSequence()
    came: set[int] = set()
    for number, seq in enumerate(seqs):
        if number in reconnects:
            sequence.begin_connection()
        news = sequence.note(seq, brought_news=seq not in came and seq > max(came, default=-1))
        assert (news is SeqNews.REPEATED) <= (seq <= max(came, default=-1))
        came.add(seq)
        after = sequence.resume_after
        assert after is not None
        assert after <= max(came)
        if not reconnects:
            assert set(range(seqs[0], after + 1)) <= came
