"""Kill a writing process again and again; check after each kill that nothing acknowledged is gone.

Usage: journal_killer.py PATH KILLS. Prints the kills and the acknowledged entries.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from core.storage.journal import Append, Journal, OnFull


def opened(path: Path) -> Journal:
    journal = Journal(path, owner="killer", budget=1 << 30, on_full=OnFull.REFUSE)
    journal.open()
    return journal


def write_for_ever(path: Path, pipe: int) -> None:
    journal = opened(path)
    number = journal.last_seqs().get("event", 0)
    while True:
        futures = []
        for _ in range(random.randint(1, 6)):
            number += 1
            body = b"%d:" % number + bytes(random.randint(0, 3000))
            futures.append((number, journal.append(Append("event", body, at=number))))
        for acknowledged, future in futures:
            future.result()
            os.write(pipe, b"%d\n" % acknowledged)


def main() -> int:
    path, kills = Path(sys.argv[1]), int(sys.argv[2])
    random.seed(7)
    total = 0
    for kill in range(kills):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            write_for_ever(path, write)
        os.close(write)
        first = os.read(read, 65536)  # it works; now kill it at any moment
        time.sleep(random.random() * 0.01)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        seen = first
        while chunk := os.read(read, 65536):
            seen += chunk
        os.close(read)
        acknowledged = int(seen.split()[-1])
        if kill % 20 == 19 or kill == kills - 1:
            journal = opened(path)
            reader = journal.reader()
            bodies = [e.body for e in reader.read_lane("event", 0, limit=10**6, max_bytes=1 << 40)]
            reader.close()
            journal.close()
            numbers = [int(body.split(b":", 1)[0]) for body in bodies]
            if numbers != list(range(1, len(numbers) + 1)):
                print("the log has holes or doubles", file=sys.stderr)
                return 1
        else:
            journal = opened(path)
            numbers = [journal.last_seqs()["event"]]
            journal.close()
        if numbers[-1] < acknowledged:
            print(f"lost: acknowledged {acknowledged}, held {numbers[-1]}", file=sys.stderr)
            return 1
        total = acknowledged
    print(kills, total)
    return 0


if __name__ == "__main__":
    sys.exit(main())
