"""The cards of an OSDP door, and the access list that its edge decides by.

The list names cards by pseudonyms made with the edge's key; the pseudonym's form is part of the
list's format (``docs/drivers/osdp.md``).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

from simulators.seeds import stream

_HEX_DIGITS = 24
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Cards:
    """Card numbers (Wiegand 26) of one facility."""

    key: bytes
    """The key of the pseudonyms."""
    facility: int
    allowed: tuple[int, ...]
    expired: int
    unknown: int
    blacklisted: int
    with_code: int
    code: str = "2580"
    duress_code: str = "2581"

    def access_list(self) -> dict[str, Any]:
        """Return the access list as its file has it."""
        with_code = self.pseudonym(self.with_code)
        cards: list[dict[str, Any]] = [
            {"card": self.pseudonym(number), "doors": "all"} for number in self.allowed
        ]
        cards += [
            {"card": self.pseudonym(self.expired), "doors": "all", "valid_until": "2020-12-31"},
            {"card": self.pseudonym(self.blacklisted), "doors": "all", "blacklisted": True},
            {
                "card": with_code, "doors": "all",
                "pin": self._of("pin", f"{with_code}:{self.code}"),
                "duress_pin": self._of("pin", f"{with_code}:{self.duress_code}"),
            },
        ]  # fmt: skip
        return {"timezone": "Asia/Shanghai", "cards": cards}

    def pseudonym(self, number: int) -> str:
        """Return what stands for a card in the list."""
        return self._of("card", f"w26-{self.facility}-{number}")

    def _of(self, space: str, identifier: str) -> str:
        digest = hmac.new(self.key, f"{space}\0{identifier}".encode(), hashlib.sha256)
        return "p-" + digest.hexdigest()[:_HEX_DIGITS]


def cards(seed: int, name: str, holders: int = 40) -> Cards:
    """Return the cards of an invented office."""
    random = stream(seed, name, "cards")
    numbers = random.sample(range(1, 65_536), holders + 4)
    expired, unknown, blacklisted, with_code = numbers[:4]
    return Cards(
        key=random.randbytes(_KEY_BYTES), facility=random.randrange(1, 255),
        allowed=tuple(numbers[4:]), expired=expired, unknown=unknown,
        blacklisted=blacklisted, with_code=with_code,
    )  # fmt: skip
