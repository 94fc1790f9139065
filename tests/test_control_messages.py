"""Requests and answers of the control connection: both ways, strictly."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_args

import attrs
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.control_answers import (
    ANSWERS,
    ActorTold,
    AlarmTold,
    Answer,
    Declined,
    Done,
    FiguresTold,
    HealthTold,
    KillTold,
    LimitsTold,
    LimitTold,
    LinkTold,
    LocksTold,
    LockTold,
    OrdersTold,
    OrderTold,
    PositionsTold,
    RulesTold,
    RuleTold,
    RunTold,
    SourcesTold,
    SourceTold,
    StatusTold,
    SymbolLine,
    SymbolTold,
)
from protocol.control_messages import (
    MAX_TEXT,
    BadAnswer,
    BadRequest,
    read_answer,
    read_request,
    write_answer,
    write_request,
)
from protocol.control_requests import (
    NEEDS_REASON,
    REQUESTS,
    WORDS,
    FlattenPositions,
    LockSymbol,
    Pause,
    Request,
    SetTickers,
)
from protocol.position_record import PositionRecord
from protocol.position_status import PositionStatus
from protocol.values import Side, Symbol

T0 = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)
KILL = KillTold(level=2, name="halt", meaning="stops stay", who="ann@pts/1", why="news")
LOCK = LockTold(lock="L000001", symbol="SLV", kind="person", reason="news", who="ann", at=T0, until=None)
LIMIT = LimitTold(name="max_gross", limit="4", control="R3", now="1 of 4", part=0.25, tightened=True)
RULE = RuleTold(
    symbol="SLV", name="long", priority=100, on=True, cooldown_left_s=12.5, acted_today=1, max_per_day=None,
    text="BUY enters",
)  # fmt: skip
LINE = SymbolLine(
    symbol="SLV", actor="running", status="open", position=100, average=Decimal("14.60"), last=14.7,
    unrealized_pnl=Decimal("10.00"), stop=Decimal("14.20"), held="",
)  # fmt: skip
ACTOR = ActorTold(id="symbol:SLV", depth=2, state="running", epoch=3, restarts=1, waiting=0, last_exit="")
SOURCE = SourceTold(
    name="flow",
    kind="http",
    running=True,
    state="ok",
    sentence="",
    tickers=("SLV", "GLD"),
    counts="1 accepted",
)
ORDER = OrderTold(
    symbol="SLV", role="stop", purpose="stop", ref="r1:SLV:000001:stop:r0", status="submitted", side="SELL",
    type="STP", quantity=100, filled=0, limit_price=None, stop_price=Decimal("14.20"), trail=None, tif="GTC",
    perm_id=7, order_id=3, as_asked=True,
)  # fmt: skip
RECORD = PositionRecord(
    symbol=Symbol("SLV"), trade=1, side=Side.BUY, rule="long", signal_id="s", opened_at=T0,
    status=PositionStatus.OPEN, quantity=100, average_entry=Decimal("14.60"), price=Decimal("14.7"),
)  # fmt: skip
HEALTH = HealthTold(subject="link", state="down", sentence="no link")
STATUS = StatusTold(
    run=RunTold(
        pid=1, mode="paper", state="/s", temporary=False, version="0", configuration="c", started_at=None,
        market_now=T0, speed=1.0,
    ),
    link=LinkTold(state="up", account="DU1", link=1),
    kill=KILL,
    symbols=(LINE,),
    tree=(ACTOR,),
    locks=(LOCK,),
    sources=(SOURCE,),
    health=(HEALTH,),
    alarms=(AlarmTold(at=T0, code="x", symbol="", text="look"),),
    figures=FiguresTold(equity=Decimal("1000000.00"), positions=1),
    near=(LIMIT,),
)  # fmt: skip
SAID: tuple[Answer, ...] = (
    Declined(problems=("no",)),
    Done(said=("done", "and more")),
    STATUS,
    PositionsTold(positions=(RECORD,), market_now=T0),
    OrdersTold(orders=(ORDER,)),
    RulesTold(rules=(RULE,)),
    SymbolTold(
        line=LINE, actor=ACTOR, bid=14.6, ask=None, quote_age_s=0.5, locks=(LOCK,), rules=(RULE,), health=()
    ),
    LocksTold(kill=KILL, locks=(LOCK,)),
    LimitsTold(limits=(LIMIT,)),
    SourcesTold(sources=(SOURCE,)),
)

plain_text = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=20)


def requests() -> st.SearchStrategy[Any]:
    """Any request that a person could make."""
    by_type = {
        "str": plain_text,
        "bool": st.booleans(),
        "float | None": st.none() | st.floats(0.1, 1e6),
        "tuple[str, ...]": st.lists(plain_text, max_size=3).map(tuple),
    }
    return st.one_of([
        st.builds(kind, **{field.name: by_type[str(field.type)] for field in attrs.fields(kind)})
        for kind in REQUESTS.values()
    ])  # fmt: skip


# --- both ways --------------------------------------------------------------------------------------


@given(requests())
def test_every_request_comes_back_as_it_was(request: Request) -> None:
    line = write_request(request)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert read_request(line) == request


@pytest.mark.parametrize("answer", SAID, ids=lambda answer: type(answer).__name__)
def test_every_answer_comes_back_as_it_was(answer: Answer) -> None:
    line = write_answer(answer)
    assert line.count(b"\n") == 1
    assert read_answer(line) == answer


def test_every_request_and_every_answer_has_a_word_and_a_test() -> None:
    assert set(REQUESTS.values()) == set(WORDS) == set(get_args(Request))
    assert set(ANSWERS.values()) == set(get_args(Answer)) == {type(answer) for answer in SAID}


def test_money_travels_as_text_and_times_in_iso_8601() -> None:
    told = orjson.loads(write_answer(PositionsTold(positions=(RECORD,), market_now=T0)))
    assert told["positions"][0]["average_entry"] == "14.60"
    assert told["market_now"] == "2025-01-23T15:00:00+00:00"


# --- strictly ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"", "no JSON"),
        (b"hello", "no JSON"),
        (b"[1]", "expected an object"),
        (b"{}", "is no request"),
        (b'{"do": 7}', "is no request"),
        (b'{"do": "flaten"}', 'did you mean "flatten"?'),
        (b'{"do": "pause", "symbl": "SLV"}', "symbl"),
        (b'{"do": "pause", "symbol": 7}', "symbol"),
        (b'{"do": "pause", "symbol": null}', "symbol"),
        (b'{"do": "show"}', "symbol"),
        (b'{"do": "flatten", "why": "x", "confirmed": 1}', "confirmed"),
        (b'{"do": "flatten", "why": "x", "confirmed": "yes"}', "confirmed"),
        (b'{"do": "sources tickers", "source": "flow", "tickers": "SLV"}', "tickers"),
        (b'{"do": "sources tickers", "source": "flow", "tickers": [1]}', "tickers"),
        (b'{"do": "lock", "why": "x", "minutes": "5"}', "minutes"),
        (b'{"do": "lock", "why": "x", "minutes": true}', "minutes"),
        (b"[" * 3000, "no JSON"),
    ],
)
def test_what_is_no_request_is_refused_with_what_is_wrong(line: bytes, problem: str) -> None:
    with pytest.raises(BadRequest) as bad:
        read_request(line)
    assert problem in str(bad.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(BadRequest) as bad:
        read_request(b'{"do": "flatten", "symbol": 3, "confirmed": "x", "foo": 1}')
    assert len(bad.value.problems) == 3


@pytest.mark.parametrize("kind", NEEDS_REASON, ids=lambda kind: str(WORDS[kind]))
def test_nobody_does_these_without_a_reason(kind: type) -> None:
    given_ = {field.name: "x" for field in attrs.fields(kind) if field.default is attrs.NOTHING}
    with pytest.raises(BadRequest, match="needs a reason"):
        read_request(write_request(kind(**given_)))
    assert read_request(write_request(kind(**given_, why="news"))) == kind(**given_, why="news")


def test_a_reason_of_control_characters_is_none_and_others_lose_them() -> None:
    with pytest.raises(BadRequest, match="needs a reason"):
        read_request(b'{"do": "flatten", "why": " \\u001b\\n "}')
    found = read_request(b'{"do": "pause", "why": "a\\u001b[2Jb\\nc"}')
    assert found == Pause(why="a [2Jb c")


@pytest.mark.parametrize("request_", [
    LockSymbol(why="x" * (MAX_TEXT + 1)), Pause(symbol="S" * (MAX_TEXT + 1)),
    SetTickers(source="flow", tickers=("S",) * 1001), SetTickers(source="flow", tickers=("S" * 501,)),
], ids=["why", "symbol", "many tickers", "long ticker"])  # fmt: skip
def test_texts_have_an_end(request_: Request) -> None:
    with pytest.raises(BadRequest, match="at most"):
        read_request(write_request(request_))
    longest = FlattenPositions(why="x" * MAX_TEXT)
    assert read_request(write_request(longest)) == longest


@given(st.binary(max_size=200) | requests().map(write_request).flatmap(lambda line: st.just(line[:-3])))
def test_no_line_does_more_harm_than_a_refusal(line: bytes) -> None:
    problems: tuple[str, ...] = ()
    try:
        read_request(line)
    except BadRequest as bad:
        problems = bad.problems or ("refused without a word\n",)
    assert all(problem.isprintable() for problem in problems)


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"7", b'{"answer": "ok"}', b'{"answer": "done"}', b'{"said": []}']
)
def test_an_answer_of_another_version_is_told_apart(line: bytes) -> None:
    with pytest.raises(BadAnswer):
        read_answer(line)
