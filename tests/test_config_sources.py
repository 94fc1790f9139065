"""`[signals.NAME]` and `[[thresholds]]`: what the user may say about the sources of signals."""

from __future__ import annotations

import tomllib
from decimal import Decimal

import pytest

from protocol.config import ConfigFaults, config_hash, resolve
from protocol.config_text import describe
from protocol.settings import Settings
from protocol.source_settings import FileSource, FlowThreshold, HttpSource, WebhookSource, WebSocketSource
from protocol.values import Symbol

SLV, GLD = Symbol("SLV"), Symbol("GLD")

ALL = """
[signals.flow]
poll_s = 30
poll_of = { SLV = 10 }
tickers = ["SLV"]
min_confidence = 0.6
min_confidence_of = { SLV = 0.7, GLD = 0.65 }
max_flips = 3
flip_flop_s = 300
trades = true
divergence = true
data_poll_s = 20

[signals.feed]
kind = "websocket"
url = "wss://feed.example/v1"
token_env = "FEED_TOKEN"
subscribe = '{"tickers": "{tickers}", "after": {last_seq}}'
keep_alive_loop_s = 5
silence_loop_s = 15
max_age_s = 4

[signals.hook]
kind = "webhook"
port = 9000
path = "/in"
scheme = "secret"
window_loop_s = 10

[signals.lines]
kind = "file"
path = "/var/signals.jsonl"
from_start = true

[[thresholds]]
name = "rich"
field = "d_diff_short"
limit = 50

[[thresholds]]
name = "block"
data = "trades"
field = "trade_value"
limit = 1e6
symbols = ["SLV"]
above = true
"""


def read(text: str) -> Settings:
    return resolve((tomllib.loads(text, parse_float=Decimal),), offered=(SLV, GLD))


def faults(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigFaults) as caught:
        read(text)
    return caught.value.faults


def test_every_key_of_every_kind_is_read() -> None:
    settings = read(ALL)
    assert settings.sources == (
        HttpSource(
            name="flow", poll_s=30.0, poll_of=((SLV, 10.0),), tickers=(SLV,), min_confidence=0.6,
            min_confidence_of=((SLV, 0.7), (GLD, 0.65)), max_flips=3, flip_flop_s=300.0, trades=True,
            divergence=True, data_poll_s=20.0,
        ),
        WebSocketSource(
            name="feed", url="wss://feed.example/v1", token_env="FEED_TOKEN",
            subscribe='{"tickers": "{tickers}", "after": {last_seq}}', keep_alive_loop_s=5.0,
            silence_loop_s=15.0, max_age_s=4.0,
        ),
        WebhookSource(name="hook", port=9000, path="/in", scheme="secret", window_loop_s=10.0),
        FileSource(name="lines", path="/var/signals.jsonl", from_start=True),
    )  # fmt: skip
    assert settings.thresholds == (
        FlowThreshold(name="rich", field="d_diff_short", limit=50.0),
        FlowThreshold(name="block", data="trades", field="trade_value", limit=1e6, symbols=(SLV,)),
    )
    assert config_hash(settings) == config_hash(read(ALL))
    assert config_hash(settings) != config_hash(read(ALL.replace("limit = 50", "limit = 51")))


def test_the_confidence_of_a_symbol_comes_before_that_of_its_source() -> None:
    (flow, *_) = read(ALL).sources
    assert (flow.confidence_for("SLV"), flow.confidence_for("TSLA")) == (0.7, 0.6)


def test_sources_and_thresholds_are_told_in_sentences_without_secrets() -> None:
    lines = [line for line in describe(read(ALL)) if line.startswith(("signals", "threshold"))]
    assert lines == [
        "signals: flow from the embedded server every 30 s with trades and divergence, confidence from 0.6",
        "signals: feed pushed by wss://feed.example/v1, confidence from 0.5",
        "signals: hook posted to 127.0.0.1:9000/in, scheme secret, confidence from 0.5",
        "signals: lines from the file /var/signals.jsonl, confidence from 0.5",
        "threshold rich: d_diff_short of divergence goes over 50",
        "threshold block: trade_value of trades of SLV goes over 1e+06",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('[signals."no name"]', "signals.no name: is no name of a source: up to 32 letters"),
        ('[signals.a]\ntoken = "x"', "signals.a.token: a secret does not belong here: name an environment "
         "variable in api_key_env"),
        ('[signals.a]\nkind = "websocket"', "signals.a.url: is missing: expected text in quotes"),
        ('[signals.a]\nkind = "websocket"\nurl = "ws://far.example/"',
         "signals.a.url: ws is accepted for this machine only; use wss"),
        ('[signals.a]\nkind = "websocket"\nurl = "wss://far.example/?token=x"',
         "signals.a.url: holds more than an address; the key comes from the variable in token_env"),
        ('[signals.a]\nkind = "websocket"\nurl = "https://far.example/"',
         "signals.a.url: expected an address like wss://HOST/feed"),
        ('[signals.a]\nkind = "websocket"\nurl = "wss://far.example/"\nkeep_alive_loop_s = 60',
         "signals.a.silence_loop_s: 60 has to be more than keep_alive_loop_s 60"),
        ('[signals.a]\nkind = "webhook"\nhost = "0.0.0.0"\nscheme = "secret"',
         'signals.a.host: 0.0.0.0 is not this machine: there, scheme has to be "hmac"'),
        ('[signals.a]\nkind = "webhook"\nscheme = "none"',
         'signals.a.scheme: expected "hmac" or "secret", got "none"'),
        ('[signals.a]\nkind = "webhook"\nsecret_env = ""', "signals.a.secret_env: is empty"),
        ('[signals.a]\nkind = "webhook"\npath = "hook"', "signals.a.path: expected the path of an address"),
        ('[signals.a]\nkind = "webhook"\nport = 0', "signals.a.port: expected a whole number"),
        ('[signals.a]\nkind = "webhook"\n[signals.b]\nkind = "webhook"',
         "signals.b: port 8787 is taken by signals.a"),
        ('[signals.a]\nkind = "file"', "signals.a.path: is missing"),
        ('[signals.a]\nkind = "file"\npath = "x"\nurl = "y"', "signals.a.url: unknown key"),
        ("[signals.a]\nmin_confidence_of = { SLVX = 0.5 }",
         'signals.a.min_confidence_of.SLVX: "SLVX" is not among the symbols; did you mean "SLV"?'),
        ("[signals.a]\npoll_of = { SLV = 0 }", "signals.a.poll_of.SLV: expected a number more than 0"),
        ("[signals.a]\nmax_flips = 65", "signals.a.max_flips: expected a whole number"),
        ('[signals.a]\ntickers = "SLV,GLD"', 'signals.a.tickers: "SLV,GLD" is not among the symbols'),
        ('[[thresholds]]\nname = "x"\nfield = "size"\nlimit = 1\ndata = "trades"',
         "thresholds[0].data: no source polls it: set signals.flow.trades = true"),
        ('[signals.a]\ndivergence = true\n[[thresholds]]\nname = "x"\nfield = "d"',
         "thresholds[0].limit: is missing: expected a number"),
        ('[signals.a]\ndivergence = true\n[[thresholds]]\nfield = "d"\nlimit = 1',
         "thresholds[0].name: is missing: expected text in quotes"),
        ('[signals.a]\ndivergence = true\n[[thresholds]]\nname = "x"\nfield = "d.e"\nlimit = 1',
         'thresholds[0].field: expected the name of a figure, like "d_diff_short" or "trade_value"'),
        ('[[thresholds]]\nname = "x"\nfield = "d"\nlimit = 1\ndata = "minutes"',
         'thresholds[0].data: expected "divergence" or "trades", got "minutes"'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_path(text: str, fault: str) -> None:
    assert [found for found in faults(text) if found.startswith(fault)], faults(text)


def test_all_faults_are_named_at_once() -> None:
    text = """
    [signals.a]
    kind = "webhook"
    path = "x"
    min_confidence = 2
    [signals.b]
    kind = "file"
    [[thresholds]]
    name = "one"
    field = "d"
    [[thresholds]]
    name = "one"
    field = "d"
    limit = 1
    """
    places = [fault.split(":")[0] for fault in faults(text)]
    assert places == [
        "signals.a.min_confidence", "signals.a.path", "signals.b.path", "thresholds[0].limit",
        "thresholds[0].data", "thresholds[1].name", "thresholds[1].data",
    ]  # fmt: skip


def test_a_secret_of_a_wrong_kind_is_not_repeated() -> None:
    (fault,) = faults('[signals.a]\napi_key_env = "s3cret value"')
    assert fault.startswith("signals.a.api_key_env: expected the name of an environment variable")
