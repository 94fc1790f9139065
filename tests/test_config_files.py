"""Fetching the configuration: files, environment, secrets, and the examples that are shipped."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from actors.config_files import load_settings, read_secret
from protocol.config import ConfigFaults, config_hash, default_settings
from protocol.rules.amounts import Allocation, AtrMultiple, Shares
from protocol.settings import Atr
from protocol.values import Symbol

EXAMPLES = Path(__file__).parent.parent / "scripts" / "examples"
OFFERED = (Symbol("SLV"), Symbol("GLD"))


def test_the_default_example_is_the_default_configuration_written_down() -> None:
    settings = load_settings([EXAMPLES / "default.toml"], environment={}, offered=OFFERED)
    assert settings == default_settings(OFFERED)
    assert config_hash(settings) == config_hash(default_settings(OFFERED))


def test_the_atr_example_measures_its_stops_in_ten_second_bars() -> None:
    settings = load_settings([EXAMPLES / "atr.toml"], environment={}, offered=OFFERED)
    assert settings.atr == Atr(period=14, bar_s=10)
    assert {rule.entry.stop for rule in settings.rules if rule.entry} == {AtrMultiple(6.0)}
    assert [rule.name for rule in settings.rules] == ["SLV long", "GLD long", "SLV short", "GLD short"]


OF_THE_SIMULATOR = {"faults.toml"}
TRADING = sorted(path for path in EXAMPLES.glob("*.toml") if path.name not in OF_THE_SIMULATOR)


@pytest.mark.parametrize("example", TRADING, ids=lambda path: path.name)
def test_every_example_fits_within_the_default_limits(example: Path) -> None:
    settings = load_settings([example], environment={}, offered=OFFERED)
    assert settings.risk == default_settings(OFFERED).risk
    for entry in settings.symbols:
        match entry.sizing:
            case Allocation(dollars):
                assert dollars <= settings.risk.max_order_notional
            case Shares(quantity):
                assert quantity <= settings.risk.max_order_quantity
            case _:
                pytest.fail(f"{entry.symbol}: a size that depends on the account cannot be promised to fit")


def test_files_then_environment_then_options(tmp_path: Path) -> None:
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text('[broker]\nhost = "a"\nport = 1111\nclient_id = 1\naccount = "DU1"\n')
    second.write_text("[broker]\nport = 2222\nclient_id = 2\n")
    settings = load_settings(
        [first, second],
        environment={"RINGFENCE__BROKER__CLIENT_ID": "3", "RINGFENCE__BROKER__ACCOUNT": "DU3"},
        options={"broker": {"account": "DU4"}},
        offered=OFFERED,
    )
    broker = settings.broker
    assert (broker.host, broker.port, broker.client_id, broker.account) == ("a", 2222, 3, "DU4")


def test_numbers_stay_as_exact_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "exact.toml"
    file.write_text('[[symbols]]\nsymbol = "SLV"\nallocation = 1234.10\n')
    sizing = load_settings([file], environment={}).symbols[0].sizing
    assert sizing == Allocation(Decimal("1234.10"))


def test_every_file_that_cannot_be_read_is_named_together_with_the_other_faults(tmp_path: Path) -> None:
    broken, binary = tmp_path / "broken.toml", tmp_path / "binary.toml"
    broken.write_text("[broker\n")
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigFaults) as caught:
        load_settings(
            [tmp_path / "none.toml", broken, binary], environment={"RINGFENCE__X": "1"}, offered=OFFERED
        )
    missing, syntax, encoding, variable = caught.value.faults
    assert missing == f"{tmp_path / 'none.toml'}: cannot be read: No such file or directory"
    assert syntax.startswith(f"{broken}: ")
    assert "line 1" in syntax
    assert encoding == f"{binary}: not UTF-8 text (byte 0)"
    assert variable == "RINGFENCE__X: expected RINGFENCE__SECTION__KEY"


def test_a_secret_comes_from_the_environment_or_a_file_of_the_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("canary\n")
    file.chmod(0o600)
    assert read_secret("FLOW_KEY", {"FLOW_KEY": "direct"}) == "direct"
    assert read_secret("FLOW_KEY", {"FLOW_KEY_FILE": str(file)}) == "canary"
    assert read_secret("FLOW_KEY", {}) is None
    file.chmod(0o644)
    with pytest.raises(ConfigFaults) as caught:
        read_secret("FLOW_KEY", {"FLOW_KEY_FILE": str(file)})
    assert caught.value.faults == (f"{file}: others may read this secret; chmod 600 it",)
