"""The declarative base and the column types that both databases share."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
from sqlalchemy import JSON, BigInteger, Dialect, Integer, MetaData, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

#: A 64-bit integer; SQLite counts only in columns that it calls INTEGER.
Long = BigInteger().with_variant(Integer(), "sqlite")

_REPLACEMENT = "\ufffd"


def clean_text(text: str) -> str:
    """Replace what a database cannot store (NUL, lone surrogates), so that no text is poison."""
    if "\x00" in text:
        text = text.replace("\x00", _REPLACEMENT)
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def clean_json(value: Any) -> Any:
    """Return ``value`` as JSON that every database takes: clean texts, no NaN, text keys."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {clean_text(str(key)): clean_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean_json(item) for item in value]
    return value


class CleanText(TypeDecorator[str]):
    """Text, of whatever origin; sorted and compared by code point on both databases.

    PostgreSQL would sort it by the cluster's language.
    """

    impl = Text().with_variant(Text(collation="C"), "postgresql")
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Clean the text on its way in."""
        return None if value is None else clean_text(value)


#: JSON; how it is written and read is the engine's business (:func:`dump_json`).
CleanJson = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def dump_json(value: Any) -> str:
    """Return ``value`` as JSON text that every database takes.

    NaN and infinities become null; what :func:`clean_text` replaces is replaced.
    """
    try:
        text = msgspec.json.encode(value).decode()
    except (UnicodeEncodeError, OverflowError, TypeError):
        return json.dumps(clean_json(value), ensure_ascii=False, allow_nan=False)
    if "\\u0000" in text:
        return msgspec.json.encode(clean_json(value)).decode()
    return text


class Base(DeclarativeBase):
    """Base of every table; constraints are named, so that migrations can find them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
