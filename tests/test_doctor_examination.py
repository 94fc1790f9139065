"""Whole examinations: of simulated TWS, well and ill, of other listeners, of sources of signals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
from trio_websocket import WebSocketRequest, serve_websocket

from actors.doctor import DoctorOptions, Examination
from actors.doctor_program import as_text
from actors.doctor_sources import examine_source
from actors.flow_api import flow_app, serve_flow_api
from actors.simulated_tws import SimulatedTws
from actors.tws_desk import TwsDesk
from protocol.doctor import (
    Check,
    Finding,
    Outcome,
    exit_code,
)
from protocol.doctor_machine import (
    Machine,
    MachineKind,
)
from protocol.exchange.fault_base import When
from protocol.exchange.faults import (
    ChangeAccounts,
    DropConnection,
    Fault,
    OrderNotice,
    RefuseRequest,
    RejectOrder,
    SwallowRequest,
    UnansweredOrder,
)
from protocol.exchange.happenings import Status
from protocol.exchange.synthetic import SyntheticMarket
from protocol.exchange.tws_market_settings import DataPermission, MarketSettings
from protocol.exchange.tws_settings import TwsSettings
from protocol.exchange.venue_settings import VenueSettings
from protocol.flow_service import FlowLimits, FlowService
from protocol.source_settings import FileSource, HttpSource, WebhookSource, WebSocketSource
from protocol.values import Symbol
from tests.clients import ACCOUNT, HOST

NOW = datetime(2025, 1, 23, 15, 0, tzinfo=UTC)
SHORT_S = 0.4
"""For answers that do not come."""
SPY = Symbol("SPY")


@asynccontextmanager
async def tws_with(*faults: Fault, settings: TwsSettings | None = None) -> AsyncIterator[Served]:
    """A simulated TWS in this very loop, at a real port."""
    simulated = SimulatedTws(SyntheticMarket(1), VenueSettings(), settings=settings, faults=faults)
    async with trio.open_nursery() as nursery:
        await nursery.start(simulated.run)
        yield Served(await simulated.listen(HOST, 0), simulated)
        nursery.cancel_scope.cancel()


@attrs.frozen
class Served:
    port: int
    tws: SimulatedTws

    @property
    def working(self) -> int:
        """Orders that work at the venue, which is the truth."""
        return len(self.tws.venue.open_orders())


async def plain_machine() -> Machine:
    return Machine(kind=MachineKind.PLAIN)


async def examined(
    folder: Path, port: int, *, config: str = "", **options: object
) -> dict[Check, list[Finding]]:
    """The findings of a whole examination, by check."""
    files: tuple[Path, ...] = ()
    if config:
        files = (folder / "doctor.toml",)
        files[0].write_text(config, encoding="utf-8")
    asked = DoctorOptions(
        **{
            "tws": (HOST, port),
            "symbols": (SPY,),
            "state": folder / "state",
            "timeout_loop_s": 5.0,
            "config": files,
        }
        | options  # type: ignore[arg-type]
    )
    heard: list[str] = []
    examination = Examination(asked, heard.append, plain_machine)
    await examination.run()
    assert heard
    found: dict[Check, list[Finding]] = {}
    for finding in examination.findings:
        found.setdefault(finding.check, []).append(finding)
    assert list(found) == [check for check in Check if check is not Check.EXAMINATION]
    return found


def all_of(found: dict[Check, list[Finding]]) -> list[Finding]:
    return [finding for findings in found.values() for finding in findings]


async def test_a_healthy_simulator_has_nothing_in_the_way_and_an_order_goes_there_and_back(
    tmp_path: Path,
) -> None:
    async with tws_with() as served:
        found = await examined(tmp_path, served.port, place_order=True)
        assert served.working == 0
        assert not any(held.quantity for held in served.tws.venue.positions(ACCOUNT))
    assert exit_code(all_of(found)) == 0, all_of(found)
    order = [finding.text for finding in found[Check.ORDER_PATH]]
    assert len(order) == 3
    assert order[1].endswith("Submitted, listed among open orders")
    assert order[2] == "cancelled, Cancelled, nothing left"
    assert [finding.outcome for finding in found[Check.MARKET_DATA]] == [Outcome.OK]


async def test_without_being_asked_to_it_orders_nothing(tmp_path: Path) -> None:
    async with tws_with() as served:
        found = await examined(tmp_path, served.port)
        assert served.working == 0
    assert [finding.outcome for finding in found[Check.ORDER_PATH]] == [Outcome.SKIP]


async def test_nobody_listening_is_exit_3_and_everything_else_is_told(tmp_path: Path) -> None:
    with trio.socket.socket() as closed:
        await closed.bind((HOST, 0))
        found = await examined(tmp_path, closed.getsockname()[1])
    assert exit_code(all_of(found)) == 3
    assert found[Check.PORT][0].text == "nothing listens there"
    assert any("Enable ActiveX and Socket Clients" in line for line in found[Check.PORT][0].advice)
    assert found[Check.CONFIGURATION][0].outcome is Outcome.OK


@asynccontextmanager
async def listener(answer: bytes | None) -> AsyncIterator[int]:
    """Something else at a port: it says `answer` and hangs up, or with None says nothing at all."""

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            if answer is None:
                await trio.sleep_forever()
            await stream.receive_some(100)
            await stream.send_all(answer)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "no answer to the handshake"),
        (b"", "was closed during"),
        (b"HTTP/1.1 400 Bad Request\r\n", "not TWS"),
    ],
)
async def test_what_listens_and_is_no_tws_is_exit_3(tmp_path: Path, answer: bytes | None, said: str) -> None:
    async with listener(answer) as port:
        found = await examined(tmp_path, port, timeout_loop_s=SHORT_S)
    assert exit_code(all_of(found)) == 3
    assert said in found[Check.HANDSHAKE][0].text
    assert found[Check.HANDSHAKE][0].advice


async def test_an_account_that_is_not_meant_is_exit_2_and_is_asked_nothing_more(tmp_path: Path) -> None:
    async with tws_with() as served:
        wrong = '[broker]\naccount = "DU7654321"\n'
        found = await examined(tmp_path, served.port, config=wrong, place_order=True)
    assert exit_code(all_of(found)) == 2
    assert "not the configured DU7654321" in found[Check.ACCOUNT][0].text
    assert found[Check.ORDER_PATH][0].outcome is Outcome.SKIP


async def test_a_live_account_in_paper_mode_is_exit_2_and_never_ordered_on(tmp_path: Path) -> None:
    async with tws_with(ChangeAccounts(accounts=("U1234567",))) as served:
        found = await examined(tmp_path, served.port, place_order=True)
        assert served.working == 0
    assert exit_code(all_of(found)) == 2
    assert found[Check.ORDER_PATH][0].outcome is Outcome.SKIP


async def test_wrong_configuration_is_exit_2_with_every_fault(tmp_path: Path) -> None:
    found = await examined(tmp_path, 1, config="[broker]\nmode = 'papr'\nprot = 1\n")
    assert exit_code(all_of(found)) == 2
    assert len(found[Check.CONFIGURATION]) >= 2


async def test_a_client_id_in_use_is_said_and_the_rest_is_asked_under_another(tmp_path: Path) -> None:
    async with tws_with() as served, await TwsDesk.open(HOST, served.port, 1):
        found = await examined(tmp_path, served.port, place_order=True)
    assert exit_code(all_of(found)) == 1
    assert "326" in found[Check.CLIENT_ID][0].text
    assert found[Check.MONEY][0].outcome is Outcome.OK
    assert found[Check.ORDER_PATH][0].outcome is Outcome.SKIP


@pytest.mark.parametrize(
    ("permission", "said"),
    [(DataPermission.NONE, "354"), (DataPermission.DELAYED, "delayed only")],
)
async def test_missing_market_data_is_said_for_the_symbol(
    tmp_path: Path, permission: DataPermission, said: str
) -> None:
    settings = TwsSettings(market=MarketSettings(permissions=(("SPY", permission),)))
    async with tws_with(settings=settings) as served:
        found = await examined(tmp_path, served.port, symbols=(SPY, Symbol("QQQ")))
    first, second = found[Check.MARKET_DATA]
    assert (first.outcome, second.outcome) == (Outcome.FAIL, Outcome.OK)
    assert said in first.text


async def test_a_refused_order_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    reject = RejectOrder(reason="No trading permission.")
    async with tws_with(reject) as served:
        found = await examined(tmp_path, served.port, place_order=True)
        assert served.working == 0
    assert exit_code(all_of(found)) == 1
    assert any("No trading permission" in finding.text for finding in found[Check.ORDER_PATH])


@pytest.mark.slow
async def test_a_read_only_tws_is_told_where_to_click_and_gets_no_order(tmp_path: Path) -> None:
    refusal = RefuseRequest(
        code=321,
        text="cause - The API interface is currently in Read-Only mode.",
        when=When(on=("req_all_open_orders", "req_completed_orders"), times=0),
    )
    async with tws_with(refusal) as served:
        found = await examined(tmp_path, served.port, place_order=True, timeout_loop_s=SHORT_S)
    assert found[Check.API_SETTINGS][0].outcome is Outcome.FAIL
    assert found[Check.ORDER_PATH][0].outcome is Outcome.SKIP


async def test_a_notice_about_the_order_is_a_warning_and_it_is_taken_back(tmp_path: Path) -> None:
    said = "Order Message:\nWarning: it will wait until 09:30."
    async with tws_with(OrderNotice(code=399, text=said, when=When(on=("place_order",), after=1))) as served:
        found = await examined(tmp_path, served.port, place_order=True)
        assert served.working == 0
    assert exit_code(all_of(found)) == 0


async def test_a_cancel_that_is_lost_leaves_an_order_and_says_so(tmp_path: Path) -> None:
    async with tws_with(SwallowRequest(when=When(on=("cancel_order",), times=0))) as served:
        found = await examined(tmp_path, served.port, place_order=True, timeout_loop_s=SHORT_S)
    last = found[Check.ORDER_PATH][-1]
    assert last.outcome is Outcome.FAIL
    assert "still works" in last.text
    assert last.advice == ("cancel it in TWS",)


async def test_a_session_that_ends_with_an_order_out_names_the_order(tmp_path: Path) -> None:
    async with tws_with(DropConnection(processed=True, when=When(on=("place_order",), after=1))) as served:
        found = await examined(tmp_path, served.port, place_order=True)
    assert exit_code(all_of(found)) == 3
    assert "may still work" in found[Check.ORDER_PATH][0].text


@pytest.mark.slow
async def test_an_examination_that_is_ended_takes_its_order_back(tmp_path: Path) -> None:
    silent = UnansweredOrder(when=When(on=("place_order",), after=1))
    async with tws_with(silent) as served:
        options = DoctorOptions(
            tws=(HOST, served.port), symbols=(SPY,), state=tmp_path, place_order=True, timeout_loop_s=1.0
        )
        with trio.CancelScope() as scope:

            def say(text: str) -> None:
                if text.startswith("placing"):
                    scope.deadline = trio.current_time() + SHORT_S

            examination = Examination(options, say, plain_machine)
            await examination.run()
        assert scope.cancelled_caught
        examination.interrupted()
        assert served.working == 0
        (ended,) = served.tws.venue.completed_orders()
        assert ended.order.status is Status.CANCELLED
    assert exit_code(examination.findings) == 1


# --- sources ------------------------------------------------------------------------------------------


async def test_a_polled_source_is_asked_for_its_status_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    service = FlowService((), tickers=("SPY",), limits=FlowLimits.for_polling(1, 60.0))
    async with trio.open_nursery() as nursery:
        app = flow_app(service, api_key="right", now=lambda: NOW)
        url = await nursery.start(serve_flow_api, app)
        source = HttpSource(url=url, api_key_env="DOCTOR_TEST_KEY")
        monkeypatch.setenv("DOCTOR_TEST_KEY", "right")
        good = await examine_source(source, 5.0)
        monkeypatch.setenv("DOCTOR_TEST_KEY", "canary-secret")
        bad = await examine_source(source, 5.0)
        nursery.cancel_scope.cancel()
    assert good.outcome is Outcome.OK
    assert "1 tickers" in good.text or "1 ticker" in good.text
    assert bad.outcome is Outcome.FAIL
    assert "DOCTOR_TEST_KEY" in bad.advice[0]
    assert "canary-secret" not in as_text((good, bad), 1, "")


async def test_sources_that_are_not_there_are_said(tmp_path: Path) -> None:
    async with listener(b"") as port:
        assert (await examine_source(HttpSource(url=f"http://127.0.0.1:{port}"), 1.0)).outcome is Outcome.FAIL
        feed = await examine_source(WebSocketSource(url=f"ws://127.0.0.1:{port}/feed"), 0.2)
        assert feed.outcome is Outcome.FAIL
        assert (await examine_source(WebhookSource(port=port), 1.0)).outcome is Outcome.WARN
    async with listener(None) as port:
        silent = await examine_source(WebSocketSource(url=f"ws://127.0.0.1:{port}/feed"), 0.2)
        assert "no handshake within" in silent.text
    async with listener(b"220 mail\r\n\r\n") as port:
        mail = await examine_source(WebSocketSource(url=f"ws://127.0.0.1:{port}/feed"), 1.0)
        assert mail.text == "what listens there is no websocket"
    accepting = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    async with listener(accepting) as port:
        forged = await examine_source(WebSocketSource(url=f"ws://127.0.0.1:{port}/feed"), 1.0)
        assert forged.outcome is Outcome.FAIL, "an answer without the key of the request is nobody's"
    refusing = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
    async with listener(refusing) as port:
        source = WebSocketSource(url=f"ws://127.0.0.1:{port}/feed", token_env="FEED_TOKEN")
        refused = await examine_source(source, 1.0)
        assert (refused.outcome, refused.advice) == (Outcome.FAIL, ("renew FEED_TOKEN",))
    written = tmp_path / "signals.jsonl"
    assert (await examine_source(FileSource(path=str(written)), 1.0)).outcome is Outcome.WARN
    written.touch()
    assert (await examine_source(FileSource(path=str(written)), 1.0)).outcome is Outcome.OK
    assert (await examine_source(FileSource(path="/nowhere/at/all"), 1.0)).outcome is Outcome.FAIL


async def test_a_feed_that_shakes_hands_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def serve(request: WebSocketRequest) -> None:
        seen.append(dict(request.headers)[b"authorization"].decode())
        await (await request.accept()).aclose()

    monkeypatch.setenv("FEED_TOKEN", "canary")
    async with trio.open_nursery() as nursery:
        server = await nursery.start(partial(serve_websocket, serve, HOST, 0, ssl_context=None))
        url = f"ws://127.0.0.1:{server.port}/feed?all=1"
        found = await examine_source(WebSocketSource(url=url, token_env="FEED_TOKEN"), 2.0)
        nursery.cancel_scope.cancel()
    assert found.outcome is Outcome.OK
    assert seen == ["Bearer canary"]


async def test_a_missing_secret_is_exit_2_and_its_source_is_not_asked(tmp_path: Path) -> None:
    config = '[signals.flow]\nurl = "http://127.0.0.1:1/api/v1"\napi_key_env = "DOCTOR_NO_SUCH_KEY"\n'
    found = await examined(tmp_path, 1, config=config)
    assert exit_code(all_of(found)) == 2
    assert found[Check.SECRETS][0].text == "DOCTOR_NO_SUCH_KEY is not set"
    assert found[Check.SIGNALS][0].outcome is Outcome.SKIP
