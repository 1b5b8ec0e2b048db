"""Which reads bring all the values of a map with few requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edge.modbus.questions import BIT_TABLES, Table

_MOST_REGISTERS, _MOST_BITS = 125, 2_000
_BITS_FACTOR = 16


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Registers (or bits) that belong together: those of one value."""

    table: Table
    address: int
    count: int

    @property
    def end(self) -> int:
        """Return the first address behind it."""
        return self.address + self.count


@dataclass(frozen=True, slots=True)
class Block:
    """One read, and the values that it brings."""

    span: Span
    parts: tuple[Span, ...]

    def split(self) -> list[Block]:
        """Return a block for each part: a device may refuse a read that touches a gap."""
        return [Block(part, (part,)) for part in self.parts]


def plan(
    needed: Iterable[Span], *, fixed: Sequence[Span] = (), gap: int = 8, most: int = 100
) -> list[Block]:
    """Merge what is needed into few reads.

    Two values are read together when no more than ``gap`` registers lie between them and the
    read stays within ``most`` registers (16 times as many bits). ``fixed`` reads are made as
    they are; what lies in one of them needs no other.
    """
    spans = sorted(set(needed))
    blocks: list[Block] = []
    for read in sorted(set(fixed)):
        inside = tuple(span for span in spans if _within(span, read))
        spans = [span for span in spans if not _within(span, read)]
        blocks.append(Block(read, inside or (read,)))
    merged: list[list[Span]] = []
    for span in spans:
        bits = span.table in BIT_TABLES
        limit = min(most * _BITS_FACTOR, _MOST_BITS) if bits else min(most, _MOST_REGISTERS)
        last = merged[-1] if merged else None
        if last is not None and last[0].table == span.table:
            end = max(part.end for part in last)
            near = span.address - end <= (gap * _BITS_FACTOR if bits else gap)
            if near and max(end, span.end) - last[0].address <= limit:
                last.append(span)
                continue
        merged.append([span])
    return blocks + [_block(parts) for parts in merged]


def _block(parts: list[Span]) -> Block:
    first, end = parts[0], max(part.end for part in parts)
    return Block(Span(first.table, first.address, end - first.address), tuple(parts))


def _within(span: Span, read: Span) -> bool:
    return span.table == read.table and read.address <= span.address and span.end <= read.end


class Image:
    """The registers of one device as they were read just now."""

    def __init__(self) -> None:
        self._words: dict[tuple[str, int], int] = {}

    def __len__(self) -> int:
        return len(self._words)

    def add(self, span: Span, words: Sequence[int]) -> None:
        """Take what one read brought."""
        for offset, word in enumerate(words):
            self._words[span.table, span.address + offset] = word

    def look(self, table: str, address: int, count: int) -> list[int] | None:
        """Return some registers, None where one of them was not read."""
        found = [self._words.get((table, address + offset)) for offset in range(count)]
        words = [word for word in found if word is not None]
        return words if len(words) == count else None
