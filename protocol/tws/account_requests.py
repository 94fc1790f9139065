"""What a client asks about accounts beyond its own figures: positions by model, families, advisors.

The union of this module is part of `requests.ClientRequest`; how each looks as bytes is in
`request_layouts`.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs


@attrs.frozen
class ReqPositionsMulti:
    req_id: int
    account: str
    model_code: str


@attrs.frozen
class CancelPositionsMulti:
    req_id: int


@attrs.frozen
class ReqFamilyCodes:
    pass


@attrs.frozen
class ReqSoftDollarTiers:
    req_id: int


@attrs.frozen
class RequestFa:
    """A financial advisor's configuration: `kind` 1 groups, 2 profiles, 3 aliases."""

    kind: int


@attrs.frozen
class ReplaceFa:
    kind: int
    xml: str
    req_id: int


AdvisorRequest: TypeAlias = (
    ReqPositionsMulti | CancelPositionsMulti | ReqFamilyCodes | ReqSoftDollarTiers | RequestFa | ReplaceFa
)
