"""Seeded randomness: one independent stream per name, the same on every machine and run."""

from __future__ import annotations

import random


def stream(seed: int, *names: object) -> random.Random:
    """Return the random stream of a name; equal arguments give equal streams."""
    # Simulated life needs repeatability, not secrecy.
    return random.Random("/".join(str(part) for part in (seed, *names)))  # noqa: S311


def unit_noise(seed: int, *names: object) -> float:
    """Return one number from -1 to 1 that depends on the arguments alone."""
    return stream(seed, *names).uniform(-1, 1)
