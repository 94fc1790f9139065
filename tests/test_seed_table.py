"""The document of `protocol/` says what is there: events, rules, facts, states, what became of the seeds."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import pytest

from protocol import control_events, events
from protocol.events import BaseEvent
from protocol.position_status import STATUSES
from protocol.rules.actions import Action
from protocol.rules.conditions import EVENT_KINDS, Condition
from protocol.rules.fact_names import FACTS

TESTS = Path(__file__).parent
ROOT = TESTS.parent
TEXT = (ROOT / "protocol" / "README.md").read_text(encoding="utf-8")
WORDS = (ROOT / "scripts" / "examples" / "README.md").read_text(encoding="utf-8")

SEED_WORDS = """
BaseEvent EventBus MarketEvent PriceEvent VolumeEvent IndicatorEvent PositionEvent PositionOpenEvent
PositionUpdateEvent PositionCloseEvent OrderEvent NewOrderEvent OrderStatusEvent FillEvent CancelEvent
RejectEvent OrderCreatedEvent OrderSubmittedEvent OrderFilledEvent OptionsFlowEvent PredictionSignalEvent
FlowThresholdEvent Position StockPosition PositionTracker OptionsFlowMonitor Order OrderGroup
BracketOrder OCOGroup OrderManager RuleEngine StrategyController EventCondition TWSConnection IBGateway
OrderGatewayIntegration LinkedOrderManager LinkedCreateOrderAction LinkedScaleInAction
LinkedCloseAllAction LinkedOrderConclusionManager TradeTracker subscribe unsubscribe emit enable disable
get_subscriber_count to_dict event_type event_id update_price update_stop_loss update_take_profit adjust
set_stock_info calculate_optimal_stop_loss calculate_optimal_take_profit calculate_trailing_stop
create_stock_position create_position get_position get_positions_for_symbol get_all_positions
get_closed_positions update_position_price update_all_positions_price update_positions close_position
adjust_position has_open_positions get_position_summary configure start_monitoring stop_monitoring
create_order submit_order create_and_submit_order cancel_order get_order_group add_order
find_active_position_side auto_create_stops has_active_trade start_trade close_trade register_rule
field_conditions main_orders stop_orders target_orders scale_orders doubledown_orders link_type
stop_loss_pct take_profit_pct
""".split()  # noqa: SIM905 - a hundred words
"""Components, types and methods by the names that the seeds give them."""


def section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [cells for cells in split if not set("".join(cells)) <= set("-")]


def facts_table() -> str:
    head = "| fact | meaning | unit | changes with |\n|---|---|---|---|"
    lines = (f"| `{f.name}` | {f.meaning} | {f.unit} | {f.change.value} |" for f in FACTS.values())
    return "\n".join([head, *lines])


def statuses_table() -> str:
    head = "| status | meaning | events that lead there |\n|---|---|---|"
    lines = (
        f"| {status.value} | {meaning.meaning} | {', '.join(f'`{name}`' for name in meaning.led_by)} |"
        for status, meaning in STATUSES.items()
    )
    return "\n".join([head, *lines])


# --- what is there --------------------------------------------------------------------------------


def test_the_table_of_facts_is_the_one_that_rules_are_read_by() -> None:
    assert facts_table() in section("Rules")


def test_the_table_of_position_states_is_the_one_that_the_book_is_kept_by() -> None:
    assert statuses_table() in section("Positions")


def test_every_event_is_in_the_picture_under_its_parent() -> None:
    picture = section("Events").partition("```\n")[2].partition("```")[0]
    shown = re.findall(r"\w+Event\b", picture)
    assert sorted(shown) == sorted(EVENT_KINDS)
    assert set(shown) == {name for name in vars(events) | vars(control_events) if name.endswith("Event")}
    for line in picture.splitlines()[1:-2]:
        parent, *children = re.findall(r"\w+Event\b", line)
        assert {kind.__name__ for kind in EVENT_KINDS[parent].__subclasses__()} == set(children)
    loose = {kind.__name__ for kind in BaseEvent.__subclasses__() if not kind.__subclasses__()}
    assert set(re.findall(r"\w+Event\b", "".join(picture.splitlines()[-2:]))) == loose


@pytest.mark.parametrize(("kind", "union"), [("condition", Condition), ("action", Action)])
def test_every_condition_and_every_action_is_in_its_table_with_its_words(kind: str, union: object) -> None:
    table = section("Rules").partition(f"| {kind} | TOML |")[2].partition("\n\n")[0]
    named = re.findall(r"`([A-Z]\w+)`", "".join(line.split("|")[1] for line in table.splitlines()[2:]))
    assert sorted(named) == sorted(each.__name__ for each in typing.get_args(union))
    keys = re.findall(r"`([a-z_]+)`", "".join(line.split("|")[2] for line in table.splitlines()[2:]))
    assert [key for key in keys if key not in WORDS] == []


# --- what became of the seeds -----------------------------------------------------------------------


def test_everything_that_the_seeds_name_is_in_the_table() -> None:
    told = " ".join(cells[0] for cells in rows("What the seeds name"))
    assert [word for word in SEED_WORDS if not re.search(rf"\b{word}\b", told)] == []


def test_every_row_of_the_seeds_is_shown_by_a_test_that_exists_or_comes_later() -> None:
    missing = []
    for cells in rows("What the seeds name")[1:]:
        word, _, shown = cells
        if word.startswith("**") or shown == "later":
            continue
        found = re.fullmatch(r"`(test_\w+\.py)::(test_\w+)`", shown)
        assert found, f"{word}: {shown!r} names no test"
        module = TESTS / found[1]
        if not module.is_file() or not re.search(rf"def {found[2]}\(", module.read_text(encoding="utf-8")):
            missing.append(shown)
    assert missing == []
