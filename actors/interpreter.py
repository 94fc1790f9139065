"""How the Python interpreter spends its time while the system trades: in short turns."""

from __future__ import annotations

import gc
import sys
from typing import Final

SWITCH_S: Final = 0.0005
"""How long a thread keeps the interpreter while another wants it. At Python's own 5 ms the loop waits that
long for the TWS thread, each time that thread decodes a list of orders or a day of bars."""


def prepare_interpreter() -> None:
    """To be called once, when everything is imported and nothing trades yet.

    What exists by now lives until the end: without it, a full collection of garbage takes a few milliseconds
    of the loop's time instead of some forty.
    """
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
