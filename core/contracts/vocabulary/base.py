"""What the data models of all event kinds have in common: ranges and the strict base."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=200)]
Name = Annotated[str, Field(min_length=1, max_length=64)]
#: A keyed pseudonym made at the edge; never a name, a card number or a plate.
Pseudonym = Annotated[str, Field(min_length=1, max_length=64)]
#: The first ms of the year 2100; no event lies beyond it.
LAST_MS = 4_102_444_800_000
EpochMs = Annotated[int, Field(ge=0, le=LAST_MS)]
Count = Annotated[int, Field(ge=0, le=9_007_199_254_740_991)]
#: Plain numbers of a repeated state; the bounds are those of exact integers in JSON.
Whole = Annotated[int, Field(ge=-9_007_199_254_740_991, le=9_007_199_254_740_991)]
Number = Annotated[float, Field(ge=-9_007_199_254_740_991, le=9_007_199_254_740_991)]
Volts = Annotated[float, Field(ge=0, le=1_000_000)]
Amperes = Annotated[float, Field(ge=-100_000, le=100_000)]
Watts = Annotated[float, Field(ge=-1e9, le=1e9)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]
Share = Annotated[float, Field(ge=0, le=1)]
Floor = Annotated[int, Field(ge=-20, le=200)]
Credential = Literal["card", "face", "fingerprint", "pin", "qr", "phone", "remote", "button"]
Direction = Literal["in", "out"]


class Data(BaseModel):
    """Base of every data model: strict types, no unknown fields, no NaN."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )
