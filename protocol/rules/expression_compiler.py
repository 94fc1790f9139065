"""From the text of an expression to functions that answer it.

Python's parser reads it; every node of what it finds is looked at here, and what this file does not know is
refused. The functions that come out call each other and the facts, nothing else.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

import attrs

from protocol.rules.expression_fault import ExpressionFault
from protocol.rules.expression_kinds import Meaning, check_comparison, check_truth, common_kind, numbers_fault
from protocol.rules.expression_names import Name, find_name
from protocol.rules.fact_names import Kind
from protocol.rules.indicator_names import IndicatorFault, IndicatorName, indicator_name, split_suffix
from protocol.rules.three_valued import COMPARISONS, Value, both, calculated, either, equal, opposite, truth

if TYPE_CHECKING:
    from protocol.rules.expression import Facts

MAX_CHARACTERS: Final = 1000
MAX_TOKENS: Final = 300
MAX_DEPTH: Final = 40
"""Limits that no expression of a person reaches, and below those of Python's own parser."""

Run: TypeAlias = "Callable[[Facts], Value]"

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>(?:\d+(?:_\d+)*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*(?!["'\w]))
      | (?P<text>"[^"\\]*"|'[^'\\]*')
      | (?P<sign><=|>=|==|!=|//|[-+*/%<>(),.=\[\]])
    )""",
    re.VERBOSE | re.ASCII,
)
_ARITHMETIC: Final[dict[type[ast.operator], Callable[..., float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: Final[dict[type[ast.cmpop], str]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_OF_ONE_KIND: Final[dict[str, Callable[..., bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_OF_NUMBERS: Final[dict[str, Callable[..., float]]] = {"min": min, "max": max, "abs": abs}
FUNCTIONS: Final = ("min", "max", "abs", "round", "known", "default")


@attrs.frozen
class Clause:
    """One of the conditions that `and` joins, with what it reads."""

    text: str
    run: Run
    names: tuple[str, ...]
    indicators: tuple[IndicatorName, ...]

    def with_values(self, facts: Facts) -> str:
        """`rsi14 < 70 (it is 73.2)`."""
        told = [(name, facts.fact(name)) for name in self.names]
        told += [(str(name), facts.indicator(name)) for name in self.indicators]
        if not told:
            return self.text
        if len(told) == 1:
            return f"{self.text} (it is {shown(told[0][1])})"
        return f"{self.text} ({', '.join(f'{name} is {shown(value)}' for name, value in told)})"


@attrs.frozen
class Compiled:
    text: str
    kind: Kind
    names: frozenset[str]
    indicators: frozenset[IndicatorName]
    clauses: tuple[Clause, ...]


def shown(value: Value) -> str:
    match value:
        case None:
            return "not known"
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"'
        case _:
            return f"{value:.6g}"


def compile_text(text: str) -> Compiled:
    """Raises `ExpressionFault`."""
    text = text.strip().replace("\n", " ").replace("\r", " ").replace("\t", " ")
    _check_tokens(text)
    try:
        body = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        place = error.offset or len(text)
        ends = place >= len(text) and error.msg == "invalid syntax"
        what = "it ends too early" if ends else f"this is no expression ({error.msg})"
        raise ExpressionFault(what, min(place, len(text))) from None
    compiler = _Compiler(text)
    whole = compiler.meaning(body)
    joined = body.values if isinstance(body, ast.BoolOp) and isinstance(body.op, ast.And) else [body]
    clauses = tuple(_clause(text, part) for part in joined)
    return Compiled(text, whole.kind, frozenset(compiler.names), frozenset(compiler.indicators), clauses)


def _clause(text: str, node: ast.expr) -> Clause:
    compiler = _Compiler(text)
    run = compiler.meaning(node).run
    part = ast.get_source_segment(text, node) or text
    return Clause(part, run, tuple(dict.fromkeys(compiler.names)), tuple(dict.fromkeys(compiler.indicators)))


def _check_tokens(text: str) -> None:
    """What Python's parser is not shown: characters and spellings that mean nothing here, and too much."""
    if not text:
        raise ExpressionFault("it is empty", 1)
    if len(text) > MAX_CHARACTERS:
        raise ExpressionFault(f"it is longer than {MAX_CHARACTERS} characters", MAX_CHARACTERS)
    place = count = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            start = place + len(text[place:]) - len(text[place:].lstrip())
            raise ExpressionFault(
                f'"{text[start : start + 12]}" is not understood{_hint(text[start:])}', start + 1
            )
        place, count = found.end(), count + 1
        if count > MAX_TOKENS:
            raise ExpressionFault(f"it has more than {MAX_TOKENS} words and signs", place)


def _hint(rest: str) -> str:
    for wrong, right in (("&", "and"), ("|", "or"), ("!", "not"), ("^", "or")):
        if rest.startswith(wrong):
            return f'; write "{right}"'
    if re.match(r"\d+(\.\d+)?\s*%|\d+%", rest) is not None:
        return "; 3 % is written 0.03"
    return ""


class _Compiler:
    """Walks the tree once; collects what it reads."""

    def __init__(self, text: str) -> None:
        self._bytes = text.encode()
        self._depth = 0
        self.names: list[str] = []
        self.indicators: list[IndicatorName] = []

    def meaning(self, node: ast.expr) -> Meaning:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self.fault(node, f"it is nested more than {MAX_DEPTH} deep")
        found = self._meaning(node)
        self._depth -= 1
        return found

    def _meaning(self, node: ast.expr) -> Meaning:
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name() | ast.Attribute():
                return self._named(node)
            case ast.Call():
                return self._call(node)
            case ast.BoolOp():
                return self._joined(node)
            case ast.UnaryOp():
                return self._unary(node)
            case ast.BinOp():
                return self._binary(node)
            case ast.Compare():
                return self._compared(node)
            case ast.IfExp():
                return self._chosen(node)
            case ast.Tuple() | ast.List():
                raise self.fault(node, 'a list stands only after "in"')
            case _:
                raise self.fault(node, f"{type(node).__name__.lower()} has no place in an expression")

    def fault(self, node: ast.AST, what: str) -> ExpressionFault:
        offset = getattr(node, "col_offset", 0)
        return ExpressionFault(what, len(self._bytes[:offset].decode(errors="replace")) + 1)

    # --- leaves ---------------------------------------------------------------------------------------

    def _constant(self, node: ast.Constant) -> Meaning:
        value = node.value
        match value:
            case None:
                return Meaning(Kind.ANY, lambda _: None)
            case bool():
                return Meaning(Kind.TRUTH, lambda _: value, constant=value)
            case str():
                return Meaning(Kind.TEXT, lambda _: value, constant=value)
            case int() | float():
                try:
                    number = float(value)
                except OverflowError:
                    number = math.inf
                if not math.isfinite(number):
                    raise self.fault(node, "the number is too large")
                return Meaning(Kind.NUMBER, lambda _: number, constant=number)
            case _:
                raise self.fault(node, f"{type(value).__name__} has no place in an expression")

    def _named(self, node: ast.Name | ast.Attribute) -> Meaning:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Call):
            return self._indicator_call(node.value, node.attr)
        name = find_name(self._dotted(node), self._refuser(node))
        return self._read(name)

    def _dotted(self, node: ast.expr) -> str:
        match node:
            case ast.Name(id=name):
                return name
            case ast.Attribute(value=inner, attr=name):
                return f"{self._dotted(inner)}.{name}"
            case _:
                raise self.fault(node, "a dot stands only within a name")

    def _refuser(self, node: ast.AST) -> Callable[[str], NoReturn]:
        def refuse(what: str) -> NoReturn:
            raise self.fault(node, what)

        return refuse

    def _read(self, name: Name) -> Meaning:
        match name.indicator:
            case None:
                fact = name.text
                self.names.append(fact)
                return Meaning(name.kind, lambda facts: facts.fact(fact), words=name.words, name=fact)
            case indicator:
                self.indicators.append(indicator)
                return Meaning(Kind.NUMBER, lambda facts: facts.indicator(indicator), name=str(indicator))

    # --- calls ----------------------------------------------------------------------------------------

    def _call(self, node: ast.Call) -> Meaning:
        if not isinstance(node.func, ast.Name):
            raise self.fault(node, "only functions and indicators can be called")
        if node.func.id not in FUNCTIONS:
            return self._indicator_call(node, "")
        if node.keywords:
            raise self.fault(node, f"{node.func.id} takes no named numbers")
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                raise self.fault(argument, "a star has no place in an expression")
        return self._function(node, node.func.id, [self.meaning(each) for each in node.args])

    def _function(self, node: ast.Call, name: str, given: Sequence[Meaning]) -> Meaning:
        least, most = {"min": (2, 20), "max": (2, 20), "round": (1, 2), "default": (2, 2)}.get(name, (1, 1))
        if not least <= len(given) <= most:
            amount = str(least) if least == most else f"{least} to {most}"
            raise self.fault(node, f"{name} takes {amount} values, {len(given)} are given")
        runs = tuple(each.run for each in given)
        first = runs[0]
        if name == "known":
            return Meaning(Kind.TRUTH, lambda facts: first(facts) is not None)
        if name == "default":
            fallback = runs[1]

            def with_default(facts: Facts) -> Value:
                value = first(facts)
                return fallback(facts) if value is None else value

            return Meaning(common_kind(given[0], given[1]), with_default)
        self._need_numbers(node, name, given)
        if name == "round":
            return Meaning(Kind.NUMBER, self._rounding(node, given))
        of = _OF_NUMBERS[name]
        return Meaning(Kind.NUMBER, lambda facts: calculated(of, *[run(facts) for run in runs]))

    def _rounding(self, node: ast.Call, given: Sequence[Meaning]) -> Run:
        digits = given[1].constant if len(given) == 2 else 0.0
        if not isinstance(digits, float) or digits != int(digits) or not 0 <= digits <= 10:
            raise self.fault(node, "round takes the number of digits, 0 to 10, as its second value")
        places, run = int(digits), given[0].run
        return lambda facts: calculated(lambda value: float(round(value, places)), run(facts))

    def _indicator_call(self, node: ast.Call, field: str) -> Meaning:
        if not isinstance(node.func, ast.Name):
            raise self.fault(node, "only functions and indicators can be called")
        bar_s = None
        for keyword in node.keywords:
            if keyword.arg != "bar_s":
                raise self.fault(node, f'an indicator takes "bar_s" by name, not "{keyword.arg}"')
            bar_s = self._plain_number(keyword.value)
        numbers = [self._plain_number(argument) for argument in node.args]
        word = node.func.id
        find_name(word, self._refuser(node.func), called=True)
        suffixed = split_suffix(word)
        kind, suffix = (word, ()) if suffixed is None else suffixed
        if suffix and numbers:
            raise self.fault(node, f"{word} has its number already")
        try:
            indicator = indicator_name(kind, numbers or suffix, bar_s, field)
        except IndicatorFault as fault:
            raise self.fault(node, str(fault)) from None
        return self._read(Name(str(indicator), Kind.NUMBER, (), indicator))

    def _plain_number(self, node: ast.expr) -> float:
        if isinstance(node, ast.Constant) and type(node.value) in (int, float):
            constant = self._constant(node).constant
            assert isinstance(constant, float)
            return constant
        raise self.fault(node, "an indicator is asked with plain numbers")

    # --- logic ----------------------------------------------------------------------------------------

    def _joined(self, node: ast.BoolOp) -> Meaning:
        word, join = ("and", both) if isinstance(node.op, ast.And) else ("or", either)
        runs = []
        for part in node.values:
            meaning = self.meaning(part)
            check_truth(meaning, f'beside "{word}"', self._refuser(part))
            runs.append(meaning.run)
        return Meaning(Kind.TRUTH, lambda facts: join(truth(run(facts)) for run in runs))

    def _unary(self, node: ast.UnaryOp) -> Meaning:
        inner = self.meaning(node.operand)
        run = inner.run
        match node.op:
            case ast.Not():
                check_truth(inner, 'after "not"', self._refuser(node.operand))
                return Meaning(Kind.TRUTH, lambda facts: opposite(truth(run(facts))))
            case ast.USub():
                self._need_numbers(node, "-", [inner])
                constant = -inner.constant if isinstance(inner.constant, float) else None
                return Meaning(
                    Kind.NUMBER, lambda facts: calculated(operator.neg, run(facts)), constant=constant
                )
            case ast.UAdd():
                self._need_numbers(node, "+", [inner])
                return Meaning(Kind.NUMBER, lambda facts: calculated(operator.pos, run(facts)))
            case _:
                raise self.fault(node, "~ has no place in an expression")

    def _binary(self, node: ast.BinOp) -> Meaning:
        operation = _ARITHMETIC.get(type(node.op))
        if operation is None:
            raise self.fault(node, f"{type(node.op).__name__.lower()} has no place in an expression")
        left, right = self.meaning(node.left), self.meaning(node.right)
        self._need_numbers(node, "arithmetic", [left, right])
        first, second = left.run, right.run
        return Meaning(Kind.NUMBER, lambda facts: calculated(operation, first(facts), second(facts)))

    def _need_numbers(self, node: ast.AST, what: str, given: Sequence[Meaning]) -> None:
        fault = numbers_fault(what, given)
        if fault:
            raise self.fault(node, fault)

    def _compared(self, node: ast.Compare) -> Meaning:
        steps: list[Run] = []
        left = self.meaning(node.left)
        for sign, right_node in zip(node.ops, node.comparators, strict=True):
            if isinstance(sign, ast.In | ast.NotIn):
                steps.append(self._among(left, right_node, negated=isinstance(sign, ast.NotIn)))
                left = Meaning(Kind.ANY, lambda _: None)
                continue
            word = _COMPARISONS.get(type(sign))
            if word is None:
                raise self.fault(node, "compare with == and !=, or ask known(…)")
            right = self.meaning(right_node)
            check_comparison(left, word, right, self._refuser(node))
            steps.append(_comparing(word, left, right))
            left = right
        if len(steps) == 1:
            return Meaning(Kind.TRUTH, steps[0])
        if any(isinstance(sign, ast.In | ast.NotIn) for sign in node.ops):
            raise self.fault(node, '"in" stands alone: join comparisons with "and"')
        return Meaning(Kind.TRUTH, lambda facts: both(truth(step(facts)) for step in steps))

    def _among(self, left: Meaning, node: ast.expr, *, negated: bool) -> Run:
        if not isinstance(node, ast.Tuple | ast.List):
            raise self.fault(node, 'after "in" stands a list like ("BUY", "SELL")')
        choices = [self.meaning(each) for each in node.elts]
        for choice, each in zip(choices, node.elts, strict=True):
            check_comparison(left, "==", choice, self._refuser(each))
        run, runs = left.run, [choice.run for choice in choices]

        def among(facts: Facts) -> bool | None:
            value = run(facts)
            found = either(equal(value, other(facts)) for other in runs)
            return opposite(found) if negated else found

        return among

    def _chosen(self, node: ast.IfExp) -> Meaning:
        test, then, otherwise = self.meaning(node.test), self.meaning(node.body), self.meaning(node.orelse)
        check_truth(test, 'after "if"', self._refuser(node.test))
        asked, first, second = test.run, then.run, otherwise.run

        def chosen(facts: Facts) -> Value:
            met = asked(facts)
            if met is True:
                return first(facts)
            return second(facts) if met is False else None

        return Meaning(common_kind(then, otherwise), chosen)


def _comparing(word: str, left: Meaning, right: Meaning) -> Run:
    first, second = left.run, right.run
    if left.kind is not right.kind or left.kind is Kind.ANY:
        compare = COMPARISONS[word]
        return lambda facts: compare(first(facts), second(facts))
    # Of one kind, and known to be: only what is not known has to be looked for, on every tick.
    alike = _OF_ONE_KIND[word]
    constant = right.constant

    def with_constant(facts: Facts) -> bool | None:
        value = first(facts)
        return None if value is None else alike(value, constant)

    def with_both(facts: Facts) -> bool | None:
        one, other = first(facts), second(facts)
        return None if one is None or other is None else alike(one, other)

    return with_both if constant is None else with_constant
