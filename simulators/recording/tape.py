"""The file of a recording: a line of JSON a message, compressed with gzip.

The first line says what it is. Each further one is a message: ``t`` (ms since the first),
``topic``, ``retained`` where it was, the payload as ``text`` where it is UTF-8 and as ``base64``
where not, and ``properties`` (MQTT user properties). Lines are flushed as they are written, so
that a recording that was killed is readable up to its last second.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from core.contracts.errors import EstateError

_FORMAT = "smart-estate recording"
_VERSION = 1
_LONGEST_LINE = 32 << 20


class _Header(msgspec.Struct):
    format: str
    version: int
    began: int


class _Line(msgspec.Struct, omit_defaults=True):
    t: int
    topic: str
    text: str | None = None
    base64: str | None = None
    retained: bool = False
    properties: list[tuple[str, str]] = []


_decode_header = msgspec.json.Decoder(_Header).decode
_decode_line = msgspec.json.Decoder(_Line).decode


@dataclass(frozen=True, slots=True)
class Recorded:
    """One message; ``t`` is ms since the recording's first message."""

    t: int
    topic: str
    payload: bytes
    retained: bool = False
    properties: tuple[tuple[str, str], ...] = ()


class TapeError(EstateError):
    """A file is no recording, or a broken one."""


class TapeWriter:
    """Appends messages to a new file."""

    def __init__(self, path: Path, began: int) -> None:
        """``began`` is the run's time (ms) of the first message. Raises :class:`TapeError`."""
        try:
            self._file = gzip.open(path, "xb", compresslevel=3)  # noqa: SIM115 (closed by close)
        except OSError as error:
            raise TapeError(f"{path}: {error.strerror}") from None
        self._encode = msgspec.json.Encoder().encode
        self._write(_Header(_FORMAT, _VERSION, began))
        self.messages = 0

    def __enter__(self) -> TapeWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def add(self, message: Recorded) -> None:
        """Write one message; raise OSError."""
        line = _Line(message.t, message.topic, retained=message.retained)
        try:
            line.text = message.payload.decode("utf-8")
        except UnicodeDecodeError:
            line.base64 = base64.b64encode(message.payload).decode("ascii")
        line.properties = list(message.properties)
        self._write(line)
        self.messages += 1

    def flush(self) -> None:
        """Make what was written readable."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, item: Any) -> None:
        self._file.write(self._encode(item) + b"\n")


def read(path: Path) -> Iterator[Recorded]:
    """Yield the messages of a recording; one that was cut off ends where it was cut.

    Raises :class:`TapeError` for a file that is none.
    """
    try:
        with gzip.open(path, "rb") as file:
            _check(path, file.readline(_LONGEST_LINE))
            while True:
                try:
                    line = file.readline(_LONGEST_LINE)
                except (EOFError, zlib.error):
                    return
                if len(line) >= _LONGEST_LINE:
                    raise TapeError(f"{path}: a message is longer than {_LONGEST_LINE} bytes")
                if not line.endswith(b"\n"):
                    return
                yield _message(_decode_line(line))
    except (OSError, EOFError) as error:
        raise TapeError(f"{path}: {error}") from None
    except (msgspec.DecodeError, binascii.Error) as error:
        raise TapeError(f"{path}: a line cannot be read: {error}") from None


def _check(path: Path, line: bytes) -> None:
    try:
        header = _decode_header(line)
    except msgspec.DecodeError:
        header = _Header("", 0, 0)
    if header.format != _FORMAT or header.version != _VERSION:
        raise TapeError(f"{path}: not a recording of version {_VERSION}")


def _message(line: _Line) -> Recorded:
    payload = b"" if line.text is None else line.text.encode()
    if line.base64 is not None:
        payload = base64.b64decode(line.base64, validate=True)
    return Recorded(line.t, line.topic, payload, line.retained, tuple(line.properties))
