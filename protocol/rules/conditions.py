"""When a rule acts: one closed union, `Condition`, composed with `&`, `|` and `~`.

A condition holds, does not hold, or cannot be told yet (an indicator warms up, there is no quote): only
what holds makes a rule act. Bounds are included; their names are those of the facts that they bound. The
`tests` of a condition are what it consists of, worked out once.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import time
from functools import lru_cache
from typing import Final, TypeAlias, assert_never

import attrs

from protocol import control_events, events
from protocol.rules.expression import Expression, Facts
from protocol.rules.expression_compiler import shown
from protocol.rules.fact_names import EVENT_PREFIX, FACTS, Change, change_of
from protocol.rules.indicator_names import IndicatorName
from protocol.rules.three_valued import COMPARISONS, Value, both, either, opposite

EVENT_TYPE: Final = f"{EVENT_PREFIX}event_type"


class _Composed:
    """`a & b`, `a | b` and `~a` of any two conditions."""

    __slots__ = ()

    def __and__(self, other: Condition) -> All:
        return All((*_parts(_condition(self), All), *_parts(other, All)))

    def __or__(self, other: Condition) -> AnyOf:
        return AnyOf((*_parts(_condition(self), AnyOf), *_parts(other, AnyOf)))

    def __invert__(self) -> Condition:
        return self.condition if isinstance(self, Not) else Not(_condition(self))


def _condition(composed: _Composed) -> Condition:
    """Only conditions are composed: the union is closed, its common base is not."""
    assert isinstance(composed, Condition)
    return composed


def _parts(condition: Condition, kind: type[All] | type[AnyOf]) -> tuple[Condition, ...]:
    return (
        condition.conditions
        if isinstance(condition, All | AnyOf) and isinstance(condition, kind)
        else (condition,)
    )


# --- tests that conditions consist of -----------------------------------------------------------------


@attrs.frozen
class Test:
    """One comparison of a fact or an indicator with a value."""

    __test__ = False
    of: str | IndicatorName
    sign: str
    value: Value

    def read(self, facts: Facts) -> Value:
        return facts.indicator(self.of) if isinstance(self.of, IndicatorName) else facts.fact(self.of)

    def holds(self, facts: Facts) -> bool | None:
        return COMPARISONS[self.sign](self.read(facts), self.value)

    def why_not(self, facts: Facts) -> str:
        return f"{self} (it is {shown(self.read(facts))})"

    def __str__(self) -> str:
        return f"{self.of} {self.sign} {shown(self.value)}"


@attrs.frozen
class OneOf:
    """A fact that has to be one of several words."""

    of: str
    words: tuple[str, ...]

    def holds(self, facts: Facts) -> bool | None:
        value = facts.fact(self.of)
        return None if value is None else value in self.words

    def why_not(self, facts: Facts) -> str:
        return f"{self} (it is {shown(facts.fact(self.of))})"

    def __str__(self) -> str:
        return f"{self.of} is {' or '.join(self.words)}"


_Tests: TypeAlias = "tuple[Test | OneOf, ...]"


def _bounds(condition: WhenPosition | WhenTime | WhenMarket) -> _Tests:
    """`min_pnl_pct` and `max_pnl_pct` bound the fact `pnl_pct`, and so on, where they are given."""
    found: list[Test] = []
    for name in attrs.fields_dict(type(condition)):
        edge, _, fact = name.partition("_")
        if edge in ("min", "max") and fact in FACTS:
            bound = getattr(condition, name)
            if bound is not None:
                found.append(Test(fact, ">=" if edge == "min" else "<=", float(bound)))
    return tuple(found)


def _words(fact: str, words: tuple[str, ...]) -> _Tests:
    return (OneOf(fact, words),) if words else ()


# --- the conditions -----------------------------------------------------------------------------------


@attrs.frozen
class WhenSignal(_Composed):
    """A prediction that says one of `signals`; `sources` empty: from anywhere."""

    signals: tuple[str, ...]
    min_confidence: float = 0.5
    sources: tuple[str, ...] = ()
    tests: _Tests = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        confidence = Test("confidence", ">=", float(self.min_confidence))
        tests = (*_words("signal", self.signals), confidence, *_words("source", self.sources))
        object.__setattr__(self, "tests", tests)


@attrs.frozen
class FieldTest:
    """A comparison with a field of an event, such as "quantity"; "ref.role" reaches inside."""

    field: str
    sign: str
    value: float | str | bool


@attrs.frozen
class WhenEvent(_Composed):
    """An event of this type, or of one derived from it, has just happened to the symbol."""

    event_type: str
    fields: tuple[FieldTest, ...] = ()
    tests: _Tests = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        names = tuple(sorted(kind.__name__ for kind in _kinds_of(self.event_type)))
        compared = tuple(Test(EVENT_PREFIX + each.field, each.sign, each.value) for each in self.fields)
        object.__setattr__(self, "tests", (OneOf(EVENT_TYPE, names), *compared))


@attrs.frozen(kw_only=True)
class WhenPosition(_Composed):
    """The state of the symbol's trade; fractions of what was paid for it, dollars, seconds, counts.

    A trade that is being adjusted is open, too: `state` "open" means both.
    """

    state: tuple[str, ...] = ()
    side: str | None = None
    """"long" or "short"."""
    min_pnl_pct: float | None = None
    max_pnl_pct: float | None = None
    min_pnl: float | None = None
    max_pnl: float | None = None
    min_duration_s: float | None = None
    max_duration_s: float | None = None
    min_mfe_pct: float | None = None
    max_mfe_pct: float | None = None
    min_mae_pct: float | None = None
    max_mae_pct: float | None = None
    min_drawdown_pct: float | None = None
    max_drawdown_pct: float | None = None
    min_quantity: int | None = None
    max_quantity: int | None = None
    min_scale_ins: int | None = None
    max_scale_ins: int | None = None
    min_double_downs: int | None = None
    max_double_downs: int | None = None
    tests: _Tests = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        side = () if self.side is None else _words("side", (self.side,))
        states = (*self.state, "adjusting") if "open" in self.state else self.state
        object.__setattr__(self, "tests", (*_words("state", states), *side, *_bounds(self)))


@attrs.frozen(kw_only=True)
class WhenTime(_Composed):
    """The hour, in the zone of the schedule: from `after` on, until just before `before`, to the minute."""

    after: time | None = None
    before: time | None = None
    weekdays: tuple[str, ...] = ()
    """`mon` … `sun`."""
    market_hours: bool | None = None
    half_day: bool | None = None
    min_minutes_to_close: float | None = None
    max_minutes_to_close: float | None = None
    min_minutes_since_open: float | None = None
    max_minutes_since_open: float | None = None
    tests: _Tests = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        found: list[Test | OneOf] = []
        if self.after is not None:
            found.append(Test("time", ">=", f"{self.after:%H:%M}"))
        if self.before is not None:
            found.append(Test("time", "<", f"{self.before:%H:%M}"))
        found += _words("weekday", self.weekdays)
        if self.market_hours is not None:
            found.append(Test("market_open", "==", self.market_hours))
        if self.half_day is not None:
            found.append(Test("half_day", "==", self.half_day))
        object.__setattr__(self, "tests", (*found, *_bounds(self)))


@attrs.frozen
class IndicatorTest:
    indicator: IndicatorName
    sign: str
    value: float


@attrs.frozen(kw_only=True)
class WhenMarket(_Composed):
    """The market of the symbol: dollars, shares, fractions; `volatility` is its ATR, of the price."""

    min_price: float | None = None
    max_price: float | None = None
    min_volume: float | None = None
    max_volume: float | None = None
    min_volatility: float | None = None
    max_volatility: float | None = None
    min_spread_pct: float | None = None
    max_spread_pct: float | None = None
    min_change_pct: float | None = None
    max_change_pct: float | None = None
    indicators: tuple[IndicatorTest, ...] = ()
    tests: _Tests = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        asked = tuple(Test(each.indicator, each.sign, each.value) for each in self.indicators)
        object.__setattr__(self, "tests", (*_bounds(self), *asked))


@attrs.frozen
class When(_Composed):
    """A condition as a checked expression."""

    expression: Expression

    @classmethod
    def parse(cls, text: str) -> When:
        """Raises `ExpressionFault`."""
        return cls(Expression.parse(text))


@attrs.frozen
class All(_Composed):
    conditions: tuple[Condition, ...]


@attrs.frozen
class AnyOf(_Composed):
    conditions: tuple[Condition, ...]


@attrs.frozen
class Not(_Composed):
    condition: Condition


Condition: TypeAlias = (
    WhenSignal | WhenEvent | WhenPosition | WhenTime | WhenMarket | When | All | AnyOf | Not
)
_Simple: TypeAlias = WhenSignal | WhenEvent | WhenPosition | WhenTime | WhenMarket


# --- what they say ------------------------------------------------------------------------------------


def holds(condition: Condition, facts: Facts) -> bool | None:
    """None: it cannot be told yet."""
    match condition:
        case When(expression):
            return expression.holds(facts)
        case All(conditions):
            return both(holds(each, facts) for each in conditions)
        case AnyOf(conditions):
            return either(holds(each, facts) for each in conditions)
        case Not(inner):
            return opposite(holds(inner, facts))
        case WhenSignal() | WhenEvent():
            # Without a signal (an event) at hand this is known: it is not the one that is asked for.
            return _all_hold(condition.tests, facts) if condition.tests[0].holds(facts) else False
        case WhenPosition() | WhenTime() | WhenMarket():
            return _all_hold(condition.tests, facts)
        case _:
            assert_never(condition)


def _all_hold(tests: _Tests, facts: Facts) -> bool | None:
    known = True
    for test in tests:
        met = test.holds(facts)
        if met is False:
            return False
        known = known and met is not None
    return True if known else None


def why_not(condition: Condition, facts: Facts) -> str:
    """A part that does not hold, with what it is instead: `rsi14 < 70 (it is 73.2)`. Empty when all hold."""
    match condition:
        case When(expression):
            return expression.why_not(facts)
        case All(conditions):
            return _why_not_all(conditions, facts)
        case AnyOf(conditions):
            if holds(condition, facts) is True:
                return ""
            return " and ".join(filter(None, (why_not(each, facts) for each in conditions)))
        case Not(inner):
            return "" if holds(condition, facts) is True else f"not: {describe_condition(inner)}"
        case WhenSignal() | WhenEvent() | WhenPosition() | WhenTime() | WhenMarket():
            return _why_not_tests(condition.tests, facts)
        case _:
            assert_never(condition)


def _why_not_all(conditions: tuple[Condition, ...], facts: Facts) -> str:
    unknown = ""
    for each in conditions:
        met = holds(each, facts)
        if met is False:
            return why_not(each, facts)
        if met is None:
            unknown = unknown or why_not(each, facts)
    return unknown


def _why_not_tests(tests: _Tests, facts: Facts) -> str:
    unknown = ""
    for test in tests:
        met = test.holds(facts)
        if met is False:
            return test.why_not(facts)
        if met is None:
            unknown = unknown or test.why_not(facts)
    return unknown


def describe_condition(condition: Condition) -> str:
    """A condition in words, for people."""
    match condition:
        case WhenSignal(signals, min_confidence, sources):
            whose = f" from {' or '.join(sources)}" if sources else ""
            return f"{' or '.join(signals)}{whose} with confidence from {min_confidence:g}"
        case WhenEvent(event_type, fields):
            tests = "".join(f", {each.field} {each.sign} {shown(each.value)}" for each in fields)
            return f"{event_type}{tests}"
        case WhenPosition() | WhenTime() | WhenMarket():
            return " and ".join(str(test) for test in condition.tests) or "always"
        case When(expression):
            return expression.text
        case All(conditions):
            return " and ".join(_within(each, " or ", " if ") for each in conditions)
        case AnyOf(conditions):
            return " or ".join(_within(each, " and ", " if ") for each in conditions)
        case Not(inner):
            return f"not ({describe_condition(inner)})"
        case _:
            assert_never(condition)


def _within(condition: Condition, *looser: str) -> str:
    """A part among others, in brackets where a word in it binds less than the one between them."""
    text = describe_condition(condition)
    return f"({text})" if any(word in text for word in looser) else text


# --- what they read -----------------------------------------------------------------------------------


def simple_conditions(condition: Condition) -> Iterable[_Simple | When]:
    """The conditions that are not composed of others, in their order."""
    match condition:
        case All(conditions) | AnyOf(conditions):
            for each in conditions:
                yield from simple_conditions(each)
        case Not(inner):
            yield from simple_conditions(inner)
        case _:
            yield condition


@lru_cache(maxsize=1024)
def facts_of(condition: Condition) -> frozenset[str]:
    """The names of the facts that it reads."""
    names: set[str] = set()
    for each in simple_conditions(condition):
        if isinstance(each, When):
            names |= each.expression.names
        else:
            names |= {test.of for test in each.tests if isinstance(test.of, str)}
    return frozenset(names)


@lru_cache(maxsize=1024)
def indicators_of(condition: Condition) -> tuple[IndicatorName, ...]:
    """The indicators that it reads, sorted."""
    names: set[IndicatorName] = set()
    for each in simple_conditions(condition):
        if isinstance(each, When):
            names |= each.expression.indicators
        else:
            names |= {test.of for test in each.tests if isinstance(test.of, IndicatorName)}
    return tuple(sorted(names))


@lru_cache(maxsize=1024)
def changes_of(condition: Condition) -> frozenset[Change]:
    """What can make it hold that did not, or the other way round."""
    changes = {change_of(name) for name in facts_of(condition)}
    return frozenset(changes | ({Change.BAR} if indicators_of(condition) else set()))


def asks_for_signal(condition: Condition) -> bool:
    """Whether it is about a prediction, so that its rule is asked with each of them."""
    return Change.SIGNAL in changes_of(condition)


@lru_cache(maxsize=1024)
def event_types(condition: Condition) -> tuple[type[events.BaseEvent], ...]:
    """The events that it is about; their subtypes are meant, too."""
    names = (each.event_type for each in simple_conditions(condition) if isinstance(each, WhenEvent))
    return tuple(EVENT_KINDS[name] for name in dict.fromkeys(names))


def _all_kinds(kind: type[events.BaseEvent]) -> Iterable[type[events.BaseEvent]]:
    yield kind
    for derived in kind.__subclasses__():
        yield from _all_kinds(derived)


EVENT_KINDS: Final = {
    kind.__name__: kind
    for kind in _all_kinds(events.BaseEvent)
    if kind.__module__ in (events.__name__, control_events.__name__)
}
"""Every type of event by its name."""


def _kinds_of(name: str) -> tuple[type[events.BaseEvent], ...]:
    """The type of that name, and those derived from it. Raises `ValueError`."""
    kind = EVENT_KINDS.get(name)
    if kind is None:
        raise ValueError(f"there is no event type {name!r}")
    return tuple(_all_kinds(kind))
