"""Write docs/settings.md from the settings' model; with --check tell whether it is current."""

from __future__ import annotations

import sys
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from core.runtime.settings import PREFIX, Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "settings.md"
HEAD = f"""\
# Settings

Written by `make docs` from `core/runtime/settings.py`; do not edit.

One YAML file (`estate run --settings estate.yaml`, or the variable `ESTATE_SETTINGS`), and above
it environment variables: `{PREFIX}API__PORT=8080` is `api: {{port: 8080}}`, its value read as YAML.
Paths are relative to the file's folder. An unknown key is refused, with the nearest known one.
Without a file everything has its default.

"""


def describe(annotation: Any) -> str:
    """Return a type in a reader's words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return describe(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin in (Union, UnionType):
        return " or ".join(describe(argument) for argument in arguments)
    if origin is list:
        return f"list of {describe(arguments[0])}s"
    words = {bool: "yes or no", int: "integer", float: "number", str: "text", Path: "path"}
    return "nothing" if annotation is type(None) else words.get(annotation, str(annotation))


def limits(field: FieldInfo) -> str:
    """Return a field's range, if it has one."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found = [
        f"{sign} {value:,}".replace(",", " ")
        for item in field.metadata
        for name, sign in signs.items()
        if (value := getattr(item, name, None)) is not None
    ]
    return f" ({', '.join(found)})" if found else ""


def default(field: FieldInfo) -> str:
    """Return a field's default as YAML would have it."""
    value = field.default
    if value is PydanticUndefined:
        return "–"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    return f"`{value}`" if value != "" else "empty"


def rows(model: type[BaseModel], path: str) -> list[str]:
    """Return the table rows of a model's plain fields."""
    return [
        f"| `{path}{name}` | {describe(field.annotation)}{limits(field)} | {default(field)} |"
        f" {(field.description or '').replace('``', '`')} |"
        for name, field in model.model_fields.items()
        if not section(field)
    ]


def section(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a field that is a section of its own."""
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def tables(model: type[BaseModel], path: str, title: str) -> list[str]:
    """Return a section's table, and then those of the sections within."""
    lines = [f"## {title}", "", *([str(model.__doc__).replace("``", "`"), ""] if path else [])]
    lines += ["| key | value | default | |", "| --- | --- | --- | --- |", *rows(model, path), ""]
    for name, field in model.model_fields.items():
        if (inner := section(field)) is not None:
            lines += tables(inner, f"{path}{name}.", f"{path}{name}")
    return lines


def page() -> str:
    """Return the page's text."""
    return HEAD + "\n".join(tables(Settings, "", "Whole")).rstrip() + "\n"


def main() -> int:
    """Write the page, or check it."""
    if "--check" in sys.argv:
        current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == page()
        if not current:
            print("docs/settings.md is not current: run `make docs`", file=sys.stderr)
        return 0 if current else 1
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
