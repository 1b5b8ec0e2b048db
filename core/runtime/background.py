"""A thread that a part runs in the background until it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """Runs a function in a thread; ``stopping`` tells it that it is to end.

    ``patience_s`` (real seconds) is how long :meth:`stop` waits for that, None: for ever. The
    thread never keeps a process alive.
    """

    def __init__(
        self, name: str, run: Callable[[], None], *, patience_s: float | None = 5.0
    ) -> None:
        self._name = name
        self._run = run
        self._patience_s = patience_s
        self._thread: threading.Thread | None = None
        self.stopping = threading.Event()

    @property
    def is_alive(self) -> bool:
        """Tell whether it runs."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start it."""
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> bool:
        """Have it end and wait for that; return whether it had been started."""
        self.stopping.set()
        if self._thread is None:
            return False
        self._thread.join(self._patience_s)
        self._thread = None
        return True
