"""Indicators that are fed bar by bar. Which there are says `protocol/rules/indicator_names.py`."""

from __future__ import annotations

from protocol.indicators.base import Indicator
from protocol.indicators.table import bar_size_s, bars_needed, build
from protocol.indicators.trend import AverageTrueRange

__all__ = ["AverageTrueRange", "Indicator", "bar_size_s", "bars_needed", "build"]
