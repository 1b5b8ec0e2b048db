"""The five colours, their meaning and order, and grey, which is the absence of knowledge.

Red to blue follow the four levels of the Emergency Response Law of 2024, article 63
(突发事件应对法: level 1 red is the highest); green for normal is this system's addition.
They are alert levels (告警等级), not the public warnings that only a government issues.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Colour(StrEnum):
    """A node's colour, in ascending order of urgency; grey means that too little is known."""

    GREY = "grey"
    GREEN = "green"
    BLUE = "blue"
    YELLOW = "yellow"
    ORANGE = "orange"
    RED = "red"

    @property
    def rank(self) -> int:
        """Return 0 for green to 4 for red, and -1 for grey, which is outside the order."""
        return _RANK[self]

    @property
    def is_alert(self) -> bool:
        """Tell whether an alert can have this colour (blue to red)."""
        return self.rank >= 1


_RANK = {
    Colour.GREY: -1,
    Colour.GREEN: 0,
    Colour.BLUE: 1,
    Colour.YELLOW: 2,
    Colour.ORANGE: 3,
    Colour.RED: 4,
}


@dataclass(frozen=True, slots=True)
class ColourToken:
    """How one colour is named and drawn, everywhere.

    ``dark`` and ``light`` are sRGB hex values for the two themes of the console, chosen for a
    contrast of at least 3:1 against its surfaces; ``symbol`` carries the meaning for people
    who cannot tell the colours apart.
    """

    colour: Colour
    level: int | None
    name_en: str
    name_zh: str
    meaning_en: str
    meaning_zh: str
    dark: str
    light: str
    symbol: str


TOKENS: dict[Colour, ColourToken] = {
    token.colour: token
    for token in (
        ColourToken(
            Colour.RED, 1, "Red", "红", "Life at risk: act now", "危及生命：立即处置",
            "#ff4d4f", "#c8141c", "◆",
        ),
        ColourToken(
            Colour.ORANGE, 2, "Orange", "橙", "Serious: act within minutes",
            "严重：数分钟内处置", "#ff922b", "#b45309", "▲",
        ),
        ColourToken(
            Colour.YELLOW, 3, "Yellow", "黄", "Attention: act within this shift",
            "注意：本班内处置", "#ffd43b", "#8a6d00", "■",
        ),
        ColourToken(
            Colour.BLUE, 4, "Blue", "蓝", "For information: plan the work",
            "提示：安排处理", "#4dabf7", "#1864ab", "●",
        ),
        ColourToken(
            Colour.GREEN, None, "Green", "绿", "Normal, and known to be so",
            "正常，且有据可依", "#51cf66", "#2b8a3e", "✓",
        ),
        ColourToken(
            Colour.GREY, None, "Grey", "灰", "Unknown: too few devices are heard",
            "未知：可感知设备不足", "#868e96", "#5c636a", "?",
        ),
    )
}  # fmt: skip


def worst(colours: list[Colour] | tuple[Colour, ...]) -> Colour:
    """Return the most urgent of the given colours; green when there are none."""
    return max(colours, key=lambda colour: colour.rank, default=Colour.GREEN)
