"""Makes the pseudonyms of an access list: ``python -m edge.drivers.osdp.enrol KEY card …``.

``KEY`` is the edge's ``pseudonym.key`` (or the file that ``pseudonym_key_file`` names). A card
is given by what is printed on it: ``26 FACILITY NUMBER`` or ``34 NUMBER``. A code is asked for
and never part of a command line, which others can read.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence
from pathlib import Path

from core.contracts.errors import SettingsError
from edge.drivers.osdp.access_list import LONGEST_PIN, SHORTEST_PIN
from edge.drivers.osdp.entrance import pin_pseudonym
from edge.pseudonym import Pseudonyms, read_key
from edge.wiegand import Card

_FIELDS = {26: (0xFF, 0xFFFF), 34: (0xFFFF_FFFF,)}


def card_of(words: Sequence[int]) -> Card:
    """Return the card that ``26 FACILITY NUMBER`` or ``34 NUMBER`` names; raise ValueError."""
    bits, *numbers = words
    limits = _FIELDS.get(bits)
    if limits is None or len(numbers) != len(limits):
        raise ValueError("give 26 FACILITY NUMBER or 34 NUMBER")
    if any(not 0 <= number <= limit for number, limit in zip(numbers, limits, strict=True)):
        raise ValueError(f"a number does not fit a card of {bits} bits")
    return Card(bits, numbers[-1], numbers[0] if bits == 26 else None)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what belongs into the access list; return the exit status."""
    parser = argparse.ArgumentParser(prog="edge.drivers.osdp.enrol")
    parser.add_argument("key", type=Path, help="the edge's pseudonym.key")
    commands = parser.add_subparsers(dest="command", required=True)
    card = commands.add_parser("card", help="26 FACILITY NUMBER, or 34 NUMBER")
    card.add_argument("words", type=int, nargs="+", metavar="NUMBER")
    pin = commands.add_parser("pin", help="a code for a card that is in the list")
    pin.add_argument("card", help="the card's pseudonym")
    given = parser.parse_args(arguments)
    try:
        pseudonyms = Pseudonyms(read_key(given.key))
        if given.command == "card":
            line = f"card: {pseudonyms.of('card', card_of(given.words).identifier)}"
        else:
            line = f"pin: {pin_pseudonym(pseudonyms, given.card, _ask())}"
    except (SettingsError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"{line}\n")
    return 0


def _ask() -> str:
    digits = getpass.getpass("code: ")
    if not (digits.isascii() and digits.isdecimal()):
        raise ValueError("a code has digits only")
    if not SHORTEST_PIN <= len(digits) <= LONGEST_PIN:
        raise ValueError(f"a code has {SHORTEST_PIN} to {LONGEST_PIN} digits")
    return digits


if __name__ == "__main__":
    raise SystemExit(main())
