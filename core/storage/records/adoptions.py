"""Adoption: unknown devices and edges get their place beside what the topology file names.

The collector merges what stands here with the file and activates both (ADR 0018); a file that
names the id itself wins from then on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from core.contracts.adoption import Adopted
from core.contracts.errors import ContractError
from core.contracts.topology import Device, DeviceFamily, Edge, Level
from core.storage.records import accounts, counters, tree
from core.storage.records.accounts import Who
from core.storage.records.errors import NotFoundError
from core.storage.records.models import Adoption, DeviceRow, EdgeRow, UnknownSender
from core.storage.records.sql import upsert

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """What an adopted device or edge is, and where: an edge's ``node`` is its site."""

    node: str
    family: DeviceFamily
    name_zh: str
    name_en: str
    expect_s: float | None = None
    model: str = ""
    reason: str = ""


def adopt(session: Session, name: str, place: Place, who: Who, now: int) -> Json:
    """Adopt an unknown sender, or correct an adoption; return the adoption's view.

    The edge that brought a device stays its edge.

    Raises:
        NotFoundError: nobody unknown has this id, and nobody adopted has it.
        ContractError: it has no place there; the message names the field and the remedy.
    """
    unknown = session.get(UnknownSender, name)
    former = session.get(Adoption, name)
    known = session.get(DeviceRow, name)
    if known is not None:
        if former is None or former.superseded_at is not None:
            raise ContractError(
                f"{name} is {known.edge or known.site}'s: the topology has it", field="id"
            )
        unknown = None  # somebody else speaks for it; that does not make it his
    if unknown is not None:
        is_edge, edge = unknown.is_edge, unknown.edge
        site: str | None = unknown.site
    elif former is not None and former.superseded_at is None:
        is_edge, edge = former.is_edge, former.body.get("edge")
        site = former.body["site"] if is_edge else tree.get_node(session, former.body["node"]).site
    else:
        raise NotFoundError("unknown device or edge", name)
    if is_edge != (place.family is DeviceFamily.EDGE):
        said = "an edge: its family is edge" if is_edge else "no edge"
        raise ContractError(f"{name} is {said}", field="family")
    _check_place(session, name, place, site, None if is_edge else edge)
    body = _body(name, place, edge)
    row = {
        "id": name,
        "is_edge": is_edge,
        "body": body,
        "at": now,
        "by": who.name,
        "reason": place.reason,
        "superseded_at": None,
        "problem": None,
    }
    upsert(session, Adoption, [row])
    counters.add(session, counters.ADOPTIONS, 1)
    detail = {"entry": body, "reason": place.reason}
    accounts.audit_by(session, who, "device.adopt", f"device/{name}", detail)
    return row


def _check_place(
    session: Session, name: str, place: Place, site: str | None, edge: str | None
) -> None:
    try:
        node = tree.get_node(session, place.node)
    except NotFoundError:
        raise ContractError(f"the topology has no node {place.node!r}", field="node") from None
    if place.family is DeviceFamily.EDGE and node.level != Level.SITE:
        raise ContractError("an edge serves a site", field="node", remedy=f"name {site}")
    if node.site != site:
        raise ContractError(
            f"{name} speaks under the site {site}, and {place.node} is not in it",
            field="node", remedy="name a node of that site, or mend the sender's topic",
        )  # fmt: skip
    if edge is None or session.get(EdgeRow, edge) is not None:
        return
    adopted = session.get(Adoption, edge)
    if adopted is None or adopted.superseded_at is not None:
        raise ContractError(
            f"{name} is read by the edge {edge}, which is unknown itself",
            field="edge", remedy=f"adopt {edge} first",
        )  # fmt: skip


def _body(name: str, place: Place, edge: str | None) -> Json:
    text = {"zh": place.name_zh, "en": place.name_en}
    try:
        if place.family is DeviceFamily.EDGE:
            entry = Edge.model_validate({"id": name, "site": place.node, "name": text})
            return entry.model_dump(mode="json")
        device = Device.model_validate(
            {
                "id": name, "family": place.family, "name": text, "node": place.node,
                "edge": edge, "expect_s": place.expect_s, "model": place.model,
            }
        )  # fmt: skip
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise ContractError(first["msg"], field=path) from None
    return device.model_dump(mode="json", exclude_defaults=True)


def withdraw(session: Session, name: str, who: Who, *, reason: str = "") -> None:
    """Take an adoption back; raise :class:`NotFoundError`. Who speaks again is unknown again."""
    result = session.execute(delete(Adoption).where(Adoption.id == name))
    if not getattr(result, "rowcount", 0):
        raise NotFoundError("adopted device or edge", name)
    counters.add(session, counters.ADOPTIONS, 1)
    accounts.audit_by(session, who, "device.withdraw", f"device/{name}", {"reason": reason})


def list_adoptions(session: Session) -> list[Json]:
    """Return every adoption in the order of the ids."""
    columns = [column.name for column in Adoption.__table__.columns]
    rows = session.scalars(select(Adoption).order_by(Adoption.id))
    return [{name: getattr(row, name) for name in columns} for row in rows]


def adopted(session: Session) -> tuple[int, list[Adopted]]:
    """Return a number that grows with every change, and what holds beside the file."""
    rows = session.scalars(
        select(Adoption).where(Adoption.superseded_at.is_(None)).order_by(Adoption.id)
    )
    found = [Adopted(row.id, row.is_edge, row.body) for row in rows]
    return counters.read(session, counters.ADOPTIONS), found


def settle(
    session: Session, superseded: Sequence[str], problems: Mapping[str, str], now: int
) -> None:
    """Note at ``now`` (ms) whom the file names by itself, and who has no place and why."""
    for row in session.scalars(select(Adoption).where(Adoption.superseded_at.is_(None))).all():
        if row.id in superseded:
            row.superseded_at = now
        if row.problem != problems.get(row.id):
            row.problem = problems.get(row.id)
    session.flush()
