"""Replay a seed: ``python -m tests.simulation SEED [--trace]``, or many: ``FIRST:LAST``."""

from __future__ import annotations

import sys
import time

from tests.simulation.world import simulate


def main(arguments: list[str]) -> int:
    """Run the seeds; return 0 when every law held."""
    first, _, last = arguments[0].partition(":")
    failed = 0
    began = time.perf_counter()
    seeds = range(int(first), int(last or first) + 1)
    for seed in seeds:
        outcome = simulate(seed, trace="--trace" in arguments)
        print(*outcome.trace, sep="\n", end="\n" if outcome.trace else "")
        if outcome.broken or len(seeds) == 1:
            print(f"seed {seed}:", *outcome.broken or ["all held"], sep="\n  ")
            print(
                outcome.events,
                "events",
                outcome.declared,
                "declared",
                outcome.deaths,
                "deaths",
                round(outcome.seconds),
                "virtual seconds",
            )
        if "--slow" in arguments:
            print(
                seed,
                outcome.events,
                outcome.deaths,
                round(outcome.seconds),
                round(time.process_time() * 1000),
            )
        failed += bool(outcome.broken)
    took = time.perf_counter() - began
    print(f"{len(seeds)} seeds, {failed} failed, {took / len(seeds) * 1000:.0f} ms each")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
