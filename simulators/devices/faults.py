"""What goes wrong on a line: slow, garbled, doubled, cut, half-open."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from random import Random
from typing import Any


@dataclass
class LineFaults:
    """The faults of one peer's line, to be set while it runs; shares are per written chunk."""

    delay_s: float = 0.0
    """Real time that each answer waits."""
    mute: bool = False
    """Half open: what is written never arrives, and nobody is told."""
    garble: float = 0.0
    """Share of the chunks in which one byte is wrong."""
    truncate: float = 0.0
    """Share of the chunks of which only the first half arrives."""
    repeat: float = 0.0
    """Share of the chunks that arrive twice."""
    noise: bytes = b""
    """Bytes before each chunk, as a line that picks up noise gives."""
    cut: bool = False
    """The connection is reset in the middle of the next chunk; then it is False again."""
    random: Random = field(default_factory=lambda: Random(1))  # noqa: S311 (a simulation)

    def clear(self) -> None:
        """Make the line whole again."""
        fresh = LineFaults(random=self.random)
        self.__dict__.update(fresh.__dict__)

    @property
    def any(self) -> bool:
        """Tell whether anything is wrong."""
        return bool(
            self.delay_s or self.mute or self.garble or self.truncate or self.repeat
            or self.noise or self.cut
        )  # fmt: skip

    def apply(self, chunk: bytes) -> list[bytes]:
        """Return what arrives of a chunk; raise ConnectionResetError for a cut."""
        if self.mute or not chunk:
            return []
        if self.random.random() < self.garble:
            place = self.random.randrange(len(chunk))
            spoilt = chunk[place] ^ self.random.randrange(1, 256)
            chunk = chunk[:place] + bytes((spoilt,)) + chunk[place + 1 :]
        if self.random.random() < self.truncate:
            chunk = chunk[: max(len(chunk) // 2, 1)]
        copies = 2 if self.random.random() < self.repeat else 1
        return [self.noise + chunk] * copies


class FaultyWriter:
    """A stream writer whose line can go wrong; the faults act when it is drained."""

    def __init__(self, writer: asyncio.StreamWriter, faults: LineFaults) -> None:
        self._writer = writer
        self._faults = faults
        self._waiting: list[bytes] = []

    def write(self, chunk: bytes) -> None:
        """Write a chunk, at once where nothing is wrong."""
        if self._faults.any:
            self._waiting.append(bytes(chunk))
        else:
            self._writer.write(chunk)

    def writelines(self, chunks: list[bytes]) -> None:
        """Write several chunks."""
        for chunk in chunks:
            self.write(chunk)

    async def drain(self) -> None:
        """Let the faults act and flush; raise ConnectionError where the line is cut."""
        waiting, self._waiting = self._waiting, []
        for chunk in waiting:
            if self._faults.delay_s:
                await asyncio.sleep(self._faults.delay_s)
            if self._faults.cut:
                self._faults.cut = False
                self._writer.write(chunk[: len(chunk) // 2])
                self._writer.transport.abort()
                raise ConnectionResetError("the line was cut")
            for piece in self._faults.apply(chunk):
                self._writer.write(piece)
        await self._writer.drain()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)
