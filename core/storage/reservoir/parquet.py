"""Parquet by pyarrow: typed columns, zstd, statistics that readers skip row groups by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.storage.reservoir.columns import SCHEMA_VERSION, Column, ColumnType

_TYPES: dict[ColumnType, pa.DataType] = {
    "time": pa.timestamp("ms", tz="UTC"),
    "text": pa.string(),
    "whole": pa.int64(),
    "number": pa.float64(),
    "flag": pa.bool_(),
    "json": pa.string(),
}


def schema_of(kind: str, columns: tuple[Column, ...]) -> pa.Schema:
    """Return the Arrow schema of a kind; its metadata name kind and schema version."""
    metadata = {"estate.kind": kind, "estate.schema": str(SCHEMA_VERSION)}
    fields = []
    for column in columns:
        marks = {"estate.type": "json"} if column.type == "json" else None
        fields.append(pa.field(column.name, _TYPES[column.type], metadata=marks))
    return pa.schema(fields, metadata=metadata)


class ParquetFile:
    """A Parquet file that is being written; each ``write`` is a row group."""

    def __init__(self, path: Path, kind: str, columns: tuple[Column, ...]) -> None:
        self._schema = schema_of(kind, columns)
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, rows: Sequence[list[Any]]) -> None:
        """Add a row group."""
        values = zip(*rows, strict=True)
        arrays = [
            pa.array(column, type=field.type)
            for column, field in zip(values, self._schema, strict=True)
        ]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()
