"""Compiled decoding: the pydantic models of the vocabulary, translated once into structs.

pydantic states the contract, explains refusals and writes the JSON Schemas; the structs made
here enforce the same shapes and ranges markedly faster (ADR 0009). A property test holds
the two against each other. ``Event`` objects are what the running system passes around.
"""

from __future__ import annotations

import contextlib
import re
import types
import typing
from typing import Annotated, Any, ClassVar, Literal, Protocol, get_args, get_origin

import annotated_types as at
import msgspec
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from core.contracts.errors import ContractError
from core.contracts.events import EVENT_MODELS, ID_PATTERN, KINDS, KindSpec
from core.contracts.vocabulary import EpochMs


class Event(Protocol):
    """One decoded event; ``data`` is a struct whose attributes are the kind's fields.

    ``at`` and ``seen`` are milliseconds since the Unix epoch (UTC).
    """

    kind: ClassVar[str]
    at: int
    seen: int
    device: str
    data: Any
    id: str | None


class _EventBase(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False
):
    """Base of the compiled event structs."""


def whole(pattern: str) -> str:
    """Return a pattern of the models as Python's ``re`` must read it.

    The models' ``$`` is the end of the text; Python's also stands before a final newline.
    """
    return pattern.removesuffix("$") + r"\Z" if pattern.endswith("$") else pattern


def _constraints(metadata: list[Any] | tuple[Any, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in metadata:
        if isinstance(item, at.Ge):
            found["ge"] = item.ge
        elif isinstance(item, at.Le):
            found["le"] = item.le
        elif isinstance(item, at.MinLen):
            found["min_length"] = item.min_length
        elif isinstance(item, at.MaxLen):
            found["max_length"] = item.max_length
        elif isinstance(item, at.Interval):
            found |= {k: getattr(item, k) for k in ("ge", "le") if getattr(item, k) is not None}
        elif isinstance(item, FieldInfo):
            found |= _constraints(item.metadata)
        elif (pattern := getattr(item, "pattern", None)) is not None:
            found["pattern"] = whole(pattern)
        elif not (hasattr(item, "strict") or hasattr(item, "allow_inf_nan")):
            raise TypeError(f"the compiled decoder does not know the constraint {item!r}")
    return found


def _compile_type(annotation: Any) -> Any:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *metadata = get_args(annotation)
        constraints = _constraints(metadata)
        compiled = _compile_type(inner)
        return Annotated[compiled, msgspec.Meta(**constraints)] if constraints else compiled
    if origin is Literal:
        return annotation
    if origin in (typing.Union, types.UnionType):
        return typing.Union[tuple(_compile_type(arg) for arg in get_args(annotation))]  # noqa: UP007
    if origin in (list, dict):
        return origin[tuple(_compile_type(arg) for arg in get_args(annotation))]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return _compile_model(annotation)
    return annotation


def _compile_model(model: type[BaseModel]) -> type[msgspec.Struct]:
    fields: list[Any] = []
    for name, field in model.model_fields.items():
        kind = _compile_type(field.annotation)
        if constraints := _constraints(field.metadata):
            kind = Annotated[kind, msgspec.Meta(**constraints)]
        fields.append((name, kind) if field.is_required() else (name, kind, field.default))
    fields.sort(key=len)  # required fields first
    return msgspec.defstruct(
        model.__name__,
        fields,
        frozen=True,
        forbid_unknown_fields=True,
        omit_defaults=True,
        gc=False,
    )


#: A pattern costs msgspec as much as all the rest of an event; :func:`are_ids` looks at each name
#: once.
_Device = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


def _compile_event(spec: KindSpec) -> type[msgspec.Struct]:
    moment = _compile_type(EpochMs)
    return msgspec.defstruct(
        EVENT_MODELS[spec.kind].__name__,
        [
            ("at", moment),
            ("seen", moment),
            ("device", _Device),
            ("data", _compile_model(spec.data)),
            ("id", Annotated[str, msgspec.Meta(max_length=64)] | None, None),
        ],
        bases=(_EventBase,),
        namespace={"kind": spec.kind, "__annotations__": {"kind": ClassVar[str]}},
        tag_field="kind",
        tag=spec.kind,
        gc=False,  # an event holds no cycles, and millions of them must not be walked
    )


EVENT_STRUCTS: dict[str, type[msgspec.Struct]] = {
    spec.kind: _compile_event(spec) for spec in KINDS.values()
}
AnyEvent: Any = typing.Union[tuple(EVENT_STRUCTS.values())]  # noqa: UP007
#: The names of a kind's data fields, in the order of the model.
FIELDS: dict[str, tuple[str, ...]] = {
    spec.kind: tuple(spec.data.model_fields) for spec in KINDS.values()
}

_SHALLOW = "events are at most a few levels deep"
_is_id = re.compile(whole(ID_PATTERN)).match
_ids: set[str] = set()
_MOST_IDS = 200_000
_event_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(AnyEvent)
_encoder = msgspec.json.Encoder()


def make_event(
    kind: str, *, device: str, at: int, seen: int, data: dict[str, Any], id: str | None = None
) -> Event:
    """Build and check an event from plain values; raise :class:`ContractError` on a bad field."""
    raw: dict[str, Any] = {"kind": kind, "at": at, "seen": seen, "device": device, "data": data}
    if id is not None:
        raw["id"] = id
    return event_from(raw)


def event_from(raw: Any) -> Event:
    """Check an already parsed event; raise :class:`ContractError` that names the field."""
    try:
        event: Event = msgspec.convert(raw, _event_decoder.type)
        _check_device(event)
    except (msgspec.ValidationError, RecursionError) as error:
        raise explain(raw, error) from None
    return event


def decode_event(payload: bytes) -> Event:
    """Decode one JSON event; raise :class:`ContractError` that names the field."""
    try:
        event: Event = _event_decoder.decode(payload)
        _check_device(event)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise explain(parse_json(payload), error) from None
    return event


def are_ids(names: set[str]) -> bool:
    """Tell whether all names are such as an id may be; those seen before cost next to nothing."""
    fresh = names - _ids
    if fresh:
        if not all(map(_is_id, fresh)):
            return False
        if len(_ids) + len(fresh) > _MOST_IDS:
            _ids.clear()
        _ids.update(fresh)
    return True


def _check_device(event: Event) -> None:
    if not _is_id(event.device):
        raise msgspec.ValidationError("not an id - at `$.device`")


def parse_json(payload: bytes) -> Any:
    """Parse the JSON of one event without looking at its shape; raise :class:`ContractError`."""
    try:
        return msgspec.json.decode(payload)
    except RecursionError:
        raise ContractError("nested too deeply", remedy=_SHALLOW) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unreadable(payload, error) from None


def _unreadable(payload: bytes, error: Exception) -> ContractError:
    # Only the typed decoder knows the names on the way to a number that is out of range.
    with contextlib.suppress(UnicodeDecodeError, RecursionError):
        try:
            _event_decoder.decode(payload)
        except msgspec.ValidationError as typed:
            reason, field = _located(typed)
            if reason.endswith("out of range"):
                return ContractError(reason, field=field)
        except msgspec.DecodeError:
            pass
    return ContractError(f"not readable as JSON ({_plain(error)})", remedy="send one JSON object")


def encode(value: Any) -> bytes:
    """Encode an event, a struct or plain values as compact JSON; defaults are left out."""
    return _encoder.encode(value)


def data_dict(event: Event) -> dict[str, Any]:
    """Return an event's data as a dict without the fields that the device did not give."""
    fields = ((name, getattr(event.data, name)) for name in FIELDS[event.kind])
    return {name: value for name, value in fields if value is not None}


def explain(raw: Any, error: Exception) -> ContractError:
    """Say why an event was refused: the field, the reason and what would be accepted."""
    if isinstance(error, RecursionError):
        return ContractError("nested too deeply", remedy=_SHALLOW)
    if not isinstance(raw, dict):
        return ContractError("an event must be a JSON object")
    kind = raw.get("kind")
    if not isinstance(kind, str) or kind not in EVENT_MODELS:
        return ContractError(
            f"unknown kind {_short(kind)}", field="kind", remedy=f"known are {', '.join(KINDS)}"
        )
    try:
        EVENT_MODELS[kind].model_validate(raw)
    except ValidationError as refused:
        first = refused.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        message = first["msg"]
        if first["type"] == "extra_forbidden":
            known = FIELDS[kind] if path.startswith("data.") else ("at", "seen", "device", "id")
            return ContractError("unknown field", field=path, remedy=f"known: {', '.join(known)}")
        return ContractError(
            f"{message} (got {_short(first.get('input'))})" if first["type"] != "missing"
            else "required field is missing",
            field=path,
        )  # fmt: skip
    except RecursionError:
        return ContractError("nested too deeply", remedy=_SHALLOW)
    reason, field = _located(error)
    return ContractError(reason, field=field)


def _located(error: Exception) -> tuple[str, str]:
    """Split a message of the compiled decoder into its reason and the field's dotted path."""
    reason, _, place = _plain(error).partition(" - at `$")
    path = place.rstrip("`").replace("[...]", "").replace("[", ".").replace("]", "")
    return reason, path.lstrip(".")


def _plain(error: Exception) -> str:
    return str(error) or type(error).__name__


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python refuses to write out integers of more than 4300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 60 else text[:57] + "..."
