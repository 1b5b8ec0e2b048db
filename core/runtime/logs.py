"""Logs: one line an event on standard error, as text or as JSON."""

from __future__ import annotations

import faulthandler
import logging
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from core.runtime.settings import LogSettings


def configure(settings: LogSettings, process: str) -> None:
    """Set up structlog and the standard library's logging for a process.

    Every line says which process wrote it, on whatever thread; what libraries log through the
    standard library has the same form, from warnings on. A crash of native code says on standard
    error where each thread was.
    """
    if not faulthandler.is_enabled():
        faulthandler.enable()
    level = logging.getLevelName(settings.level.upper())

    def name_process(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {**event, "process": process}

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        name_process,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if settings.json_lines
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            use_get_message=True,
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler])
    # It prints whole frames whenever a request is given up; the driver says what went wrong.
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
