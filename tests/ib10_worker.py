"""What a current `ibapi` (10.x) reads and writes, asked over standard input: a program of its own.

It runs with that client on its PYTHONPATH and nothing of this project. One line is a JSON list of questions,
answered by one line with a list of answers:

- `{"hear": [version, payload in hex]}`: what its decoder calls: `{"calls": [[name, args], ...], "left": n}`,
  with the number of fields that it has not read.
- `{"call": [version, method, args]}`: what its client sends: `{"frames": [hex], "errors": [call]}`.
- `{"fresh": [class]}`: an object of that class as it is by default.

Objects are trees, `{"is": class, attribute: value}`; decimals are `{"decimal": text}`.
"""

from __future__ import annotations

import enum
import functools
import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import ibapi.client
import ibapi.commission_and_fees_report
import ibapi.common
import ibapi.contract
import ibapi.decoder
import ibapi.execution
import ibapi.order
import ibapi.order_cancel
import ibapi.order_condition
import ibapi.order_state
import ibapi.softdollartier
import ibapi.tag_value
import ibapi.utils
import ibapi.wrapper

MODULES = (
    ibapi.contract,
    ibapi.order,
    ibapi.order_cancel,
    ibapi.order_condition,
    ibapi.order_state,
    ibapi.execution,
    ibapi.softdollartier,
    ibapi.tag_value,
    ibapi.common,
    ibapi.commission_and_fees_report,
)

GOES_WRONG = (
    ibapi.utils.BadMessage,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What its decoder raises for a message that it cannot read."""


def class_of(name: str) -> Any:
    return next(getattr(module, name) for module in MODULES if hasattr(module, name))


def made(tree: Any) -> Any:
    """A tree as an object of the client: what it does not say stays as it is by default."""
    if isinstance(tree, list):
        return [made(one) for one in tree]
    if not isinstance(tree, dict):
        return tree
    if "decimal" in tree:
        return Decimal(tree["decimal"])
    target = class_of(tree["is"])()
    for name, value in tree.items():
        if name != "is" and value is not None and name in vars(target):
            setattr(target, name, made(value))
    return target


def told(value: Any) -> Any:
    """An object of the client as a tree."""
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, ibapi.tag_value.TagValue):
        return [value.tag, value.value]
    if isinstance(value, (list, tuple, set)):
        return [told(one) for one in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return {name: told(one) for name, one in vars(value).items()}


class Recorder(ibapi.wrapper.EWrapper):  # type: ignore[misc]
    """Keeps what is called, by name and arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def __getattribute__(self, name: str) -> Any:
        if name == "calls" or name.startswith("__") or not hasattr(ibapi.wrapper.EWrapper, name):
            return super().__getattribute__(name)
        return lambda *args: self.calls.append([name, [told(one) for one in args]])


class CountedFields(tuple[bytes, ...]):
    """The fields of a message, which know how many of them were read one after the other."""

    iterated = 0

    def __iter__(self) -> Iterator[bytes]:
        for field in tuple.__iter__(self):
            self.iterated += 1
            yield field


class KeptBytes:
    """The duck type of the client's connection."""

    def __init__(self) -> None:
        self.frames: list[str] = []

    def isConnected(self) -> bool:  # noqa: N802  ibapi's name
        return True

    def sendMsg(self, message: bytes) -> None:  # noqa: N802  ibapi's name
        self.frames.append(message.hex())


@functools.cache
def decoder_at(version: int) -> Any:
    return ibapi.decoder.Decoder(Recorder(), version)


def hear(version: int, payload: str) -> Any:
    decoder = decoder_at(version)
    recorder = decoder.wrapper
    recorder.calls = []
    # As its client does: the id apart, the other fields behind it.
    name, *others = bytes.fromhex(payload).split(b"\0")[:-1]
    fields = CountedFields(others)
    try:
        decoder.interpret(fields, int(name))
    except GOES_WRONG as error:
        return {"calls": recorder.calls, "left": repr(error)}
    # None: read by the signature of its callback, which drops a message of any other length.
    return {"calls": recorder.calls, "left": len(fields) - fields.iterated if fields.iterated else 0}


def call(version: int, method: str, args: list[Any]) -> Any:
    recorder = Recorder()
    client = ibapi.client.EClient(recorder)
    client.conn = kept = KeptBytes()
    client.serverVersion_ = version
    client.setConnState(ibapi.client.EClient.CONNECTED)
    getattr(client, method)(*(made(one) for one in args))
    return {"frames": kept.frames, "errors": recorder.calls}


def fresh(name: str) -> Any:
    return told(class_of(name)())


def main() -> None:
    answers: dict[str, Any] = {"hear": hear, "call": call, "fresh": fresh}
    for line in sys.stdin:
        said = [answers[kind](*args) for question in json.loads(line) for kind, args in question.items()]
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
