"""Questions to the meters of a bus: asked again when lost, answers matched strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Generic, Protocol, TypeVar

from edge.meters.frames import ControlCode, F, FrameDecoder
from edge.transport.bus import Bus, NoAnswerError

Heard = TypeVar("Heard", bound=ControlCode, contravariant=True)


class Question(Protocol[Heard]):
    """One question, and what answers it."""

    def encode(self) -> bytes:
        """Return its bytes."""
        ...

    def answered_by(self, frame: Heard) -> bool:
        """Tell whether a frame is its answer, be it an error reply."""
        ...

    def __str__(self) -> str:
        """Return whom it asks for what."""
        ...


class Exchange(Generic[F]):
    """Asks over a bus whose turn the caller holds."""

    def __init__(self, decoder: FrameDecoder[F], timeout_s: float, tries: int = 2) -> None:
        """``timeout_s`` (real time) is for one answer, asked for at most ``tries`` times."""
        self._decoder = decoder
        self._timeout_s = timeout_s
        self._tries = tries
        self._unmatched = 0
        self._retries = 0

    def health(self) -> Mapping[str, int]:
        """Return counters: bytes outside frames, frames that answered nothing, repetitions."""
        return {
            "skipped_bytes": self._decoder.skipped,
            "unmatched_frames": self._unmatched,
            "retries": self._retries,
        }

    async def ask(
        self, bus: Bus, question: Callable[[], Question[F]], tries: int | None = None
    ) -> tuple[F, float]:
        """Return the answer, perhaps an error reply, and the ms that it took.

        ``question`` is called for each try. Raises :class:`NoAnswerError` and, when the line is
        lost, :class:`LinkError`.
        """
        left = self._tries if tries is None else tries
        while True:
            left -= 1
            asked = question()
            self._decoder.clear()
            try:
                return await bus.ask(
                    asked.encode(), partial(self._take, asked), self._timeout_s, self._stale
                )
            except NoAnswerError:
                if left <= 0:
                    raise NoAnswerError(f"{asked}: no answer", "device") from None
                self._retries += 1

    def _take(self, asked: Question[F], chunk: bytes) -> F | None:
        found: F | None = None
        for frame in self._decoder.feed(chunk):
            if found is None and asked.answered_by(frame):
                found = frame
            else:
                self._unmatched += 1
        return found

    def _stale(self, chunk: bytes) -> None:
        """Count what came unasked; the rest of a late frame must not complete it."""
        self._unmatched += len(self._decoder.feed(chunk))
        self._decoder.clear()
