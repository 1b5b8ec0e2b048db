"""The memory of processes over time, and whether it stays."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from statistics import linear_regression


def children(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue  # it has ended meanwhile
        if parent == pid:
            found.append(int(path.parent.name))
    return found


def memory_mib(pid: int) -> float:
    """Return the resident memory (MiB) that is a process's own; files it has mapped are not."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next((line for line in status.splitlines() if line.startswith("RssAnon")), "RssAnon: 0")
    return int(line.split()[1]) / 1024


class MemoryLog:
    """Samples of memory by name; a process that is killed goes on under its name."""

    def __init__(self) -> None:
        self._samples: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._began = time.monotonic()

    def sample(self, name: str, pid: int) -> None:
        """Take a process's memory now, if it still runs."""
        try:
            found = memory_mib(pid)
        except OSError:
            return
        if found:  # else it has just ended
            self._samples[name].append((time.monotonic() - self._began, found))

    def growth_mib(self, name: str) -> float:
        """Return how much the trend over the later two thirds of the time has risen."""
        times, sizes = zip(*self._later(name), strict=True)
        return linear_regression(times, sizes).slope * (times[-1] - times[0])

    def mean_mib(self, name: str) -> float:
        """Return the mean over the later two thirds of the time."""
        later = self._later(name)
        return sum(size for _, size in later) / len(later)

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
