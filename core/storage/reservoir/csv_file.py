"""CSV after RFC 4180, safe to open in a spreadsheet.

A spreadsheet takes a text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage
return for a formula. What devices send is such text, so it gets an apostrophe in front; numbers
are written by us and stay numbers.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.storage.reservoir.columns import Column, ColumnType

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def safe_text(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.lstrip(" \n").startswith(_FORMULA) else text


def time_text(ms: int) -> str:
    """Return a time as ISO 8601 with milliseconds, in UTC."""
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def _flag(value: bool) -> str:  # noqa: FBT001 - it is the value
    return "true" if value else "false"


def _same(value: Any) -> Any:
    return value


_WRITE: dict[ColumnType, Callable[[Any], Any]] = {
    "time": time_text, "text": safe_text, "whole": _same, "number": repr, "flag": _flag,
    "json": safe_text,
}  # fmt: skip


class CsvFile:
    """A CSV file in UTF-8 that is being written; ``byte_order_mark`` is what Excel asks for."""

    def __init__(self, path: Path, columns: tuple[Column, ...], *, byte_order_mark: bool) -> None:
        self._writers = [_WRITE[column.type] for column in columns]
        encoding = "utf-8-sig" if byte_order_mark else "utf-8"
        # Its life is that of this object, which the caller closes.
        self._file = path.open("w", encoding=encoding, errors="replace", newline="")
        self._csv = csv.writer(self._file)
        self._csv.writerow([column.name for column in columns])

    def write(self, rows: Sequence[list[Any]]) -> None:
        """Add rows; an absent value is an empty cell."""
        for row in rows:
            self._csv.writerow(
                [
                    "" if value is None else write(value)
                    for write, value in zip(self._writers, row, strict=True)
                ]
            )

    def close(self) -> None:
        """Close the file."""
        self._file.close()
