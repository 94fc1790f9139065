"""The table of error codes: what each may touch, and that nothing in it kills an order."""

from __future__ import annotations

import pytest

from protocol.tws.codes import CODES, CodeClass, classify, meaning


@pytest.mark.parametrize(
    ("codes", "code_class"),
    [
        ((1100, 2110), CodeClass.LINK_LOST),
        ((1101,), CodeClass.LINK_RESTORED_DATA_LOST),
        ((1102,), CodeClass.LINK_RESTORED),
        ((1300, 502, 504, 507, 509), CodeClass.SOCKET),
        ((326,), CodeClass.CLIENT_ID_IN_USE),
        ((2103, 2105, 2157), CodeClass.FARM_BROKEN),
        ((2104, 2106, 2158), CodeClass.FARM_OK),
        ((2107, 2108, 2119), CodeClass.FARM_INACTIVE),
        (
            (10182, 10225, 101, 300, 322, 354, 10089, 10090, 10167, 10168, 10186, 10197, 162, 165, 366, 420),
            CodeClass.MARKET_DATA,
        ),
        ((100,), CodeClass.PACING),
        ((399, 404, 10349, 2109, 202), CodeClass.ORDER_NOTICE),
        ((201, 203, 460, 200, 110, 103, 10289, 10293), CodeClass.ORDER_REFUSED),
        ((104, 105, 135, 161, 10147, 10148, 10326, 321, 329), CodeClass.REQUEST_REFUSED),
        ((0, -1, 1, 9999, 10349_0), CodeClass.UNKNOWN),
    ],
)
def test_every_code_has_the_class_that_its_handling_needs(
    codes: tuple[int, ...], code_class: CodeClass
) -> None:
    assert {code: classify(code) for code in codes} == dict.fromkeys(codes, code_class)


def test_a_preset_notice_is_not_a_cancellation() -> None:
    assert classify(10349) is CodeClass.ORDER_NOTICE


def test_a_farm_never_touches_the_order_link() -> None:
    link = {CodeClass.LINK_LOST, CodeClass.SOCKET}
    assert not link & {classify(code) for code in (2103, 2105, 2157, 10182)}


def test_the_configuration_may_say_otherwise() -> None:
    overrides = {10349: CodeClass.ORDER_REFUSED, 9999: CodeClass.PACING}
    assert classify(10349, overrides) is CodeClass.ORDER_REFUSED
    assert classify(9999, overrides) is CodeClass.PACING
    assert classify(1100, overrides) is CodeClass.LINK_LOST


def test_every_meaning_can_be_read_by_a_person() -> None:
    assert all(len(meaning(code).text) > 10 for code in CODES)
    assert meaning(9999).code_class is CodeClass.UNKNOWN


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        CODES[1] = meaning(1100)  # type: ignore[index]
