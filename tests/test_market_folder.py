"""A market folder on disk: what is good is replayed, what is wrong is said."""

import gzip
import os
from datetime import date, datetime, time, timedelta
from pathlib import Path
from time import process_time

import pytest

from actors.market_folder import MarketFolderError, load_market, signals_path
from protocol.exchange.calendar import new_york
from protocol.exchange.market_csv import MAX_WARNINGS
from protocol.values import Bar

DAY = date(2025, 1, 23)
OPEN = new_york(DAY, time(9, 30))
HEADER = "time,open,high,low,close,volume\n"

RECORDED = Path(os.environ.get("RINGFENCE_MARKET", Path(__file__).parents[2] / "shared" / "market"))
needs_recordings = pytest.mark.skipif(not RECORDED.is_dir(), reason="no recorded market data on this machine")


def line(clock: str, price: object = 28, volume: object = 1200) -> str:
    return f"2025-01-23T{clock}-05:00,{price},{price},{price},{price},{volume}\n"


def closes(folder: Path, symbol: str = "SLV") -> list[float]:
    market = load_market(folder)
    return [bar.close for bar in market.history(symbol, 60, market.end, 999) if bar.volume]


def test_a_folder_of_bars_is_loaded_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "SLV.csv").write_text(HEADER + "2025-01-23T09:30:00-05:00,28,28.1,27.9,28.05,1200\n")
    market = load_market(tmp_path)
    assert market.warnings == ()
    assert market.symbols == ("SLV",)
    assert market.history("SLV", 60, OPEN + timedelta(minutes=1), 1) == (
        Bar(OPEN, 28.0, 28.1, 27.9, 28.05, 1200),
    )


def test_packed_files_ticks_and_a_class_of_shares_are_understood(tmp_path: Path) -> None:
    (tmp_path / "IBM.trades.csv.gz").write_bytes(
        gzip.compress(b"time,price,size\n2025-01-23T09:30:00.500-05:00,181.5,100\n")
    )
    (tmp_path / "IBM.quotes.csv").write_text(
        "time,bid,bid_size,ask,ask_size\n2025-01-23T09:30:00-05:00,0,0,182,100\n"
    )
    (tmp_path / "BRK B.csv.gz").write_bytes(gzip.compress((HEADER + line("09:30:00")).encode()))
    market = load_market(tmp_path)
    assert market.symbols == ("BRK B", "IBM")
    assert [(tick.bid, tick.last) for tick in market.ticks(OPEN) if tick.symbol == "IBM"] == [
        (0.0, None),
        (None, 181.5),
    ]


def test_each_bad_line_is_named_and_the_good_ones_are_kept(tmp_path: Path) -> None:
    lines = [
        line("09:30:00", 10),
        "2025-01-23T09:31:00,11,11,11,11,5\n",
        "noon,11,11,11,11,5\n",
        line("09:32:00", -1),
        line("09:33:00", "nan"),
        line("09:34:00", "inf"),
        "2025-01-23T09:35:00-05:00,11,10,12,11,5\n",
        "2025-01-23T09:36:00-05:00,13,12,10,11,5\n",
        line("09:37:00", 11, -5),
        line("09:38:30", 11),
        "2025-01-23T09:39:00-05:00,11,11\n",
        "2025-01-23T09:39:00-05:00,11,11,11,11,5,6\n",
        line("09:40:00", "cheap"),
        line("09:41:00", 0),
        "\n",
        ",11,11,11,11,5\n",
        line("09:42:00", 20),
    ]
    (tmp_path / "SLV.csv").write_text(HEADER + "".join(lines))
    assert load_market(tmp_path).warnings == (
        "SLV.csv:3: a time without an offset from UTC: '2025-01-23T09:31:00,11,11,11,11,5'",
        "SLV.csv:4: not a time: 'noon,11,11,11,11,5'",
        "SLV.csv:5: the open cannot be -1.0: '2025-01-23T09:32:00-05:00,-1,-1,-1,-1,1200'",
        "SLV.csv:6: the open cannot be nan: '2025-01-23T09:33:00-05:00,nan,nan,nan,nan,1200'",
        "SLV.csv:7: the open cannot be inf: '2025-01-23T09:34:00-05:00,inf,inf,inf,inf,1200'",
        "SLV.csv:8: the high lies below the low: '2025-01-23T09:35:00-05:00,11,10,12,11,5'",
        "SLV.csv:9: the open or the close lies outside the bar's range: "
        "'2025-01-23T09:36:00-05:00,13,12,10,11,5'",
        "SLV.csv:10: the volume cannot be -5.0: '2025-01-23T09:37:00-05:00,11,11,11,11,-5'",
        "SLV.csv:11: a one-minute bar that does not start on the minute: "
        "'2025-01-23T09:38:30-05:00,11,11,11,11,1200'",
        "SLV.csv:12: 3 fields instead of 6: '2025-01-23T09:39:00-05:00,11,11'",
        "SLV.csv:13: 7 fields instead of 6: '2025-01-23T09:39:00-05:00,11,11,11,11,5,6'",
        "SLV.csv:14: could not convert string to float: 'cheap': "
        "'2025-01-23T09:40:00-05:00,cheap,cheap,cheap,cheap,1200'",
        "SLV.csv:15: a price cannot be 0: '2025-01-23T09:41:00-05:00,0,0,0,0,1200'",
        "SLV.csv:17: not a time: ',11,11,11,11,5'",
    )
    assert closes(tmp_path) == [10.0, 20.0]


def test_lines_out_of_order_are_sorted_in_and_the_first_of_two_bars_holds(tmp_path: Path) -> None:
    (tmp_path / "SLV.csv").write_text(
        HEADER
        + line("09:32:00", 12)
        + line("09:30:00", 10)
        + line("09:31:00", 11)
        + line("09:30:00", 99)
        + line("09:33:00", 13)
    )
    assert load_market(tmp_path).warnings == (
        "SLV.csv:3: earlier than a line before it; sorted in",
        "SLV.csv:4: earlier than a line before it; sorted in",
        "SLV.csv:5: earlier than a line before it; sorted in",
        "SLV.csv:5: the minute of line 3 once more; the first bar holds",
    )
    assert closes(tmp_path) == [10.0, 11.0, 12.0, 13.0]


def test_bad_trades_and_quotes_are_named_too(tmp_path: Path) -> None:
    stamp = "2025-01-23T09:30:00.100-05:00"
    late = "2025-01-23T09:29:59.100-05:00"
    (tmp_path / "IBM.trades.csv").write_text(
        f"time,price,size\n{stamp},181,100\n{stamp},0,100\n{stamp},181,-1\n{late},180,7\n2025-01-23T09:30:61.000-05:00,1,1\n"
    )
    (tmp_path / "IBM.quotes.csv").write_text(
        f"time,bid,bid_size,ask,ask_size\n{stamp},-1,1,2,3\n{stamp},1,-1,2,3\n{stamp},5,1,4,3\n{stamp},1,1,nan,3\n"
    )
    market = load_market(tmp_path)
    assert market.warnings == (
        f"IBM.quotes.csv:2: the bid cannot be -1.0: '{stamp},-1,1,2,3'",
        f"IBM.quotes.csv:3: the bid_size cannot be -1.0: '{stamp},1,-1,2,3'",
        f"IBM.quotes.csv:5: the ask cannot be nan: '{stamp},1,1,nan,3'",
        f"IBM.trades.csv:3: a price cannot be 0: '{stamp},0,100'",
        f"IBM.trades.csv:4: the size cannot be -1.0: '{stamp},181,-1'",
        "IBM.trades.csv:6: not a time: '2025-01-23T09:30:61.000-05:00,1,1'",
        "IBM.trades.csv:5: earlier than a line before it; sorted in",
    )
    assert [(tick.bid, tick.ask, tick.last) for tick in market.ticks(market.start)] == [
        (None, None, 180.0),
        (5.0, 4.0, None),
        (None, None, 181.0),
    ]


def test_lines_whose_fields_make_up_for_each_other_are_both_bad(tmp_path: Path) -> None:
    short, long = line("09:31:00", 11).rpartition(",")[0] + "\n", line("09:32:00", 12).strip() + ",7\n"
    (tmp_path / "SLV.csv").write_text(HEADER + line("09:30:00", 10) + short + long + line("09:33:00", 13))
    assert [text.split(":")[1] for text in load_market(tmp_path).warnings] == ["3", "4"]
    (tmp_path / "SLV.csv").write_text(HEADER + line("09:30:00", 10) + long + short + line("09:33:00", 13))
    assert [text.split(":")[1] for text in load_market(tmp_path).warnings] == ["3", "4"]
    assert closes(tmp_path) == [10.0, 13.0]


def test_columns_may_stand_in_another_order_and_others_beside_them(tmp_path: Path) -> None:
    (tmp_path / "SLV.csv").write_text(
        "\ufeffVolume,Time,Open,High,Low,Close,VWAP\r\n1200,2025-01-23T09:30:00-05:00,10,12,9,11,10.5\r\n",
        encoding="utf-8",
    )
    market = load_market(tmp_path)
    assert market.warnings == ()
    assert market.history("SLV", 60, market.end, 999)[0] == Bar(OPEN, 10.0, 12.0, 9.0, 11.0, 1200)


def test_a_missing_header_is_said_and_no_line_is_lost(tmp_path: Path) -> None:
    (tmp_path / "SLV.csv").write_text(line("09:30:00", 10) + line("09:31:00", 11))
    assert load_market(tmp_path).warnings == (
        "SLV.csv:1: no header; the columns are taken to be time,open,high,low,close,volume",
    )
    assert closes(tmp_path) == [10.0, 11.0]


def test_a_file_that_cannot_be_used_leaves_the_others(tmp_path: Path) -> None:
    (tmp_path / "GLD.csv").write_text("date,price\n2025-01-23,254\n")
    (tmp_path / "QQQ.csv").write_text("")
    (tmp_path / "SLV.csv").write_text(HEADER + line("09:30:00"))
    (tmp_path / ".hidden.csv").write_text("x")
    market = load_market(tmp_path)
    assert market.symbols == ("SLV",)
    assert market.warnings == (
        "GLD.csv:1: the header lacks time, open, high, low, close, volume; nothing of this file is used",
        "QQQ.csv:1: the file is empty",
        "GLD: no usable line",
        "QQQ: no usable line",
    )


def test_a_file_that_is_wrong_throughout_is_said_to_be_so_briefly(tmp_path: Path) -> None:
    (tmp_path / "SLV.csv").write_text(HEADER + line("09:30:00") + "garbage\n" * (MAX_WARNINGS + 50))
    warnings = load_market(tmp_path).warnings
    assert len(warnings) == MAX_WARNINGS + 1
    assert warnings[-1] == "SLV.csv: 50 more lines like these"


def test_of_a_damaged_archive_the_good_beginning_is_used(tmp_path: Path) -> None:
    text = HEADER + "".join(
        line(f"{hour:02}:{minute:02}:00", 10 + minute / 7) for hour in range(10, 16) for minute in range(60)
    )
    packed = gzip.compress(text.encode())
    (tmp_path / "SLV.csv.gz").write_bytes(packed[: len(packed) * 2 // 3])
    (tmp_path / "GLD.csv.gz").write_bytes(b"no archive")
    warnings = load_market(tmp_path).warnings
    assert any(text.startswith("GLD.csv.gz:1: cannot be read on from here: ") for text in warnings)
    assert any(text.startswith("SLV.csv.gz:") and "cannot be read on" in text for text in warnings)
    assert len(closes(tmp_path)) > 100


def test_bytes_that_are_no_text_spoil_only_their_line(tmp_path: Path) -> None:
    (tmp_path / "SLV.csv").write_bytes(
        (HEADER + line("09:30:00", 10)).encode() + b"\xff\xfe\x00\n" + line("09:31:00", 11).encode()
    )
    assert closes(tmp_path) == [10.0, 11.0]
    assert [text.split(" ")[0] for text in load_market(tmp_path).warnings] == ["SLV.csv:3:"]


def test_a_plain_file_is_preferred_to_a_packed_one(tmp_path: Path) -> None:
    (tmp_path / "SLV.csv").write_text(HEADER + line("09:30:00", 10))
    (tmp_path / "SLV.csv.gz").write_bytes(gzip.compress((HEADER + line("09:30:00", 99)).encode()))
    assert closes(tmp_path) == [10.0]
    assert load_market(tmp_path).warnings == ("SLV.csv.gz: SLV.csv holds the same and is used instead",)


def test_a_day_on_which_the_exchange_was_closed_is_mentioned(tmp_path: Path) -> None:
    (tmp_path / "SLV.csv").write_text(HEADER + line("09:30:00").replace("01-23", "01-25"))
    assert load_market(tmp_path).warnings == ("2025-01-25: the exchange was closed; replayed as recorded",)


def test_a_missing_folder_a_file_and_an_empty_folder_are_errors_of_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, what in (
        (tmp_path / "none", "no such folder"),
        (file, "not a folder"),
        (empty, "no usable file"),
    ):
        with pytest.raises(MarketFolderError) as caught:
            load_market(path)
        assert len(caught.value.problems) == 1
        assert caught.value.problems[0].startswith(f"{path}: {what}")
        assert str(caught.value) == caught.value.problems[0]


def test_a_folder_without_a_single_good_line_says_what_is_wrong_with_each(tmp_path: Path) -> None:
    (tmp_path / "SLV.csv").write_text(HEADER + "garbage\n")
    with pytest.raises(MarketFolderError) as caught:
        load_market(tmp_path)
    assert caught.value.problems[0] == "SLV.csv:2: 1 fields instead of 6: 'garbage'"
    assert len(caught.value.problems) == 2


def test_the_folders_own_predictions_are_found(tmp_path: Path) -> None:
    assert signals_path(tmp_path) is None
    (tmp_path / "signals.jsonl").write_text("")
    assert signals_path(tmp_path) == tmp_path / "signals.jsonl"


# --- recorded sessions ----------------------------------------------------------------------------


@needs_recordings
@pytest.mark.slow
def test_a_week_of_23_symbols_is_replayed_whole_in_order() -> None:
    market = load_market(RECORDED / "bars-2019-02")
    assert market.warnings == ()
    assert len(market.symbols) == 23
    assert [session.day for session in market.sessions] == [date(2019, 2, day) for day in range(11, 16)]
    assert market.has_regular_hours
    count, latest, started = 0, market.start, process_time()
    for tick in market.ticks(market.start):
        assert tick.at >= latest
        latest = tick.at
        count += 1
    # A twentieth of a busy machine's figure: this is to notice a quadratic replay, not to measure one.
    assert count / (process_time() - started) > 10_000
    assert count == 538_164
    assert latest == market.end - timedelta(seconds=5)


@needs_recordings
@pytest.mark.slow
def test_recorded_bars_come_back_from_history_as_they_were() -> None:
    folder = RECORDED / "bars-2019-02"
    market = load_market(folder)
    for symbol in ("AAPL", "PPLT", "AMZN"):
        recorded = [row.split(",") for row in (folder / f"{symbol}.csv").read_text().splitlines()[1:]]
        bars = {bar.start: bar for bar in market.history(symbol, 60, market.end, 10_000)}
        fives = market.history(symbol, 5, market.end, 50_000)
        assert len(fives) == 12 * len(bars)
        assert sum(bar.volume for bar in fives) == sum(int(row[5]) for row in recorded)
        for stamp, *numbers in recorded:
            bar = bars[datetime.fromisoformat(stamp)]
            expected = [float(number) for number in numbers]
            assert [bar.open, bar.high, bar.low, bar.close, bar.volume] == expected


@needs_recordings
@pytest.mark.slow
def test_recorded_ticks_are_replayed_one_by_one_odd_moments_included() -> None:
    market = load_market(RECORDED / "ticks-2013-10")
    assert market.warnings == ()
    assert not market.has_regular_hours
    ticks = list(market.ticks(market.start))
    assert len(ticks) == 68_693 + 57_674 + 232_949
    assert sum(1 for tick in ticks if tick.symbol == "AIG" and tick.bid is not None) == 68_693
    quotes = [
        tick for tick in ticks if tick.symbol == "IBM" and tick.bid is not None and tick.ask is not None
    ]
    assert len(quotes) == 232_949
    assert ticks == sorted(ticks, key=lambda tick: (tick.at, tick.symbol))
    assert ticks[-1].at < market.sessions[-1].end


@needs_recordings
def test_extended_hours_are_recognised_and_all_day_is_replayed() -> None:
    market = load_market(RECORDED / "bars-2025-09-26")
    day = date(2025, 9, 26)
    assert (market.start, market.end) == (new_york(day, time(4)), new_york(day, time(20)))
    assert not market.has_regular_hours
    assert sum(1 for _ in market.ticks(market.start)) == 960 * 12
