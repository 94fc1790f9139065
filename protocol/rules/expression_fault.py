"""What is wrong with an expression, and where."""

from __future__ import annotations


class ExpressionFault(ValueError):
    """`place` counts the characters of the text from 1."""

    def __init__(self, what: str, place: int) -> None:
        super().__init__(f"at character {place}: {what}")
        self.what, self.place = what, place
