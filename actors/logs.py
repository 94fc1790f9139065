"""Where the programs of the project log to."""

from __future__ import annotations

import logging
import sys

import structlog


def set_up_log(form: str, *, verbose: bool) -> None:
    """The log goes to stderr, as `text` or `json`; what a person wants to read goes to stdout."""
    renderer = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO if verbose else logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
