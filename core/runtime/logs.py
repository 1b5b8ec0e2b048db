"""Logs: one line an event on standard error, as text or as JSON."""

from __future__ import annotations

import logging
import sys

import structlog

from core.runtime.settings import LogSettings


def configure(settings: LogSettings, process: str) -> None:
    """Set up structlog and the standard library's logging for a process."""
    level = logging.getLevelName(settings.level.upper())
    logging.basicConfig(
        level=max(level, logging.WARNING), stream=sys.stderr, format="%(levelname)s %(message)s"
    )
    # It prints whole frames whenever a request is given up; the driver says what went wrong.
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if settings.json_lines
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(process=process)
