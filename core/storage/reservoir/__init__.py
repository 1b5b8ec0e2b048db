"""The data reservoir (数据蓄水池): what was heard, as files that analysts open directly (ADR 0022).

A folder a day, in it a Parquet file for each kind and site, and a manifest that says what the
files hold and what they were made from. Parquet needs the extra ``reservoir`` (pyarrow).
"""

from core.storage.reservoir.columns import SCHEMA_VERSION, Column, columns_of
from core.storage.reservoir.days import expire, export_day, missing_days, stale_kinds
from core.storage.reservoir.manifest import DayManifest, FileEntry, read_manifest
from core.storage.reservoir.ranges import Wanted, export_range

__all__ = [
    "SCHEMA_VERSION",
    "Column",
    "DayManifest",
    "FileEntry",
    "Wanted",
    "columns_of",
    "expire",
    "export_day",
    "export_range",
    "missing_days",
    "read_manifest",
    "stale_kinds",
]
