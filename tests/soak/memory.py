"""The memory of processes over time, and whether it stays."""

from __future__ import annotations

import time
from collections import defaultdict
from statistics import fmean, linear_regression

from bench.parts import own_mib


class MemoryLog:
    """Samples of memory by name; a process that is killed goes on under its name."""

    def __init__(self) -> None:
        self._samples: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._began = time.monotonic()

    def sample(self, name: str, pid: int) -> None:
        """Take a process's memory now, if it still runs."""
        try:
            found = own_mib(pid)
        except OSError:
            return
        if found:  # else it has just ended
            self._samples[name].append((time.monotonic() - self._began, found))

    def growth_mib(self, name: str) -> float:
        """Return how much the trend over the later two thirds of the time has risen."""
        later = self._later(name)
        times, sizes = [time for time, _ in later], [size for _, size in later]
        return linear_regression(times, sizes).slope * (times[-1] - times[0])

    def mean_mib(self, name: str) -> float:
        """Return the mean over the later two thirds of the time."""
        return fmean(size for _, size in self._later(name))

    def peak_mib(self, name: str) -> float:
        """Return the greatest sample."""
        return max(size for _, size in self._samples[name])

    @property
    def names(self) -> list[str]:
        """Return what was sampled."""
        return sorted(self._samples)

    def line(self, name: str) -> str:
        """Return the figures of one name."""
        return (
            f"{name}: {len(self._samples[name])} samples, mean {self.mean_mib(name):.0f} MiB, "
            f"peak {self.peak_mib(name):.0f} MiB, trend {self.growth_mib(name):+.1f} MiB"
        )

    def _later(self, name: str) -> list[tuple[float, float]]:
        samples = self._samples[name]
        first, last = samples[0][0], samples[-1][0]
        return [sample for sample in samples if sample[0] >= first + (last - first) / 3]
