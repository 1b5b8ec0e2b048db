"""SOAP 1.2 envelopes: built with the headers that devices want, read with nothing trusted."""

from __future__ import annotations

import base64
import hashlib
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from core.contracts.errors import DeviceRefusedError
from edge.driver import LinkError
from edge.onvif import names

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_ANONYMOUS = f"{names.ADDRESSING}/anonymous"
#: Sub-codes with which devices refuse a sign-in (ONVIF Core, WS-Security).
_SIGN_IN_CODES = frozenset(
    {
        "NotAuthorized", "FailedAuthentication", "InvalidSecurityToken", "InvalidSecurity",
        "OperationProhibited",
    }
)  # fmt: skip
_LONGEST_REASON = 150


class SignInError(LinkError):
    """The device refuses the user name, the password, or the time of the token."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "credentials")


@dataclass(frozen=True, slots=True)
class Token:
    """A WS-Security UsernameToken; ``created_ms`` is the device's own time."""

    username: str
    password: str
    created_ms: int

    def header(self, nonce: bytes | None = None) -> str:
        """Return the Security header; the nonce is random unless one is given."""
        nonce = secrets.token_bytes(16) if nonce is None else nonce
        created = utc_text(self.created_ms)
        return (
            f'<wsse:Security s:mustUnderstand="true" xmlns:wsse="{names.SECURITY}"'
            f' xmlns:wsu="{names.SECURITY_UTILITY}"><wsse:UsernameToken>'
            f"<wsse:Username>{escape(self.username)}</wsse:Username>"
            f'<wsse:Password Type="{names.PASSWORD_DIGEST}">'
            f"{password_digest(nonce, created, self.password)}</wsse:Password>"
            f'<wsse:Nonce EncodingType="{names.BASE64}">'
            f"{base64.b64encode(nonce).decode()}</wsse:Nonce>"
            f"<wsu:Created>{created}</wsu:Created>"
            "</wsse:UsernameToken></wsse:Security>"
        )


def password_digest(nonce: bytes, created: str, password: str) -> str:
    """Return Base64(SHA-1(nonce + created + password)) (UsernameToken Profile 1.0)."""
    whole = nonce + created.encode() + password.encode()
    return base64.b64encode(hashlib.sha1(whole, usedforsecurity=False).digest()).decode()


def addressing(to: str, action: str, references: str = "") -> str:
    """Return the WS-Addressing headers; ``references`` are reference parameters as XML."""
    return (
        f'<wsa:Action xmlns:wsa="{names.ADDRESSING}">{escape(action)}</wsa:Action>'
        f'<wsa:MessageID xmlns:wsa="{names.ADDRESSING}">urn:uuid:{uuid.uuid4()}</wsa:MessageID>'
        f'<wsa:ReplyTo xmlns:wsa="{names.ADDRESSING}"><wsa:Address>{_ANONYMOUS}</wsa:Address>'
        "</wsa:ReplyTo>"
        f'<wsa:To xmlns:wsa="{names.ADDRESSING}" s:mustUnderstand="true">{escape(to)}</wsa:To>'
        f"{references}"
    )


def envelope(body: str, headers: Iterable[str] = ()) -> bytes:
    """Return a whole message."""
    head = "".join(headers)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<s:Envelope xmlns:s="{names.SOAP}">'
        f"<s:Header>{head}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def parse(answer: bytes) -> Element:
    """Return the first element of an answer's body.

    Raises :class:`SignInError` for a refused sign-in, :class:`DeviceRefusedError` for any other
    fault, and :class:`LinkError` for what is no SOAP message (entities and DTDs included).
    """
    try:
        root: Element = fromstring(answer, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise LinkError(f"the answer is not XML: {type(error).__name__}", "protocol") from None
    body = child(root, "Body") if local(root.tag) == "Envelope" else None
    first = None if body is None else next(iter(body), None)
    if first is None:
        raise LinkError("the answer is not a SOAP message with a body", "protocol")
    if local(first.tag) == "Fault":
        raise fault(first)
    return first


def fault(element: Element) -> LinkError | DeviceRefusedError:
    """Return the error that a SOAP fault is."""
    codes: list[str] = []
    code = child(element, "Code")
    while code is not None and len(codes) < 8:
        codes.append(local(text(code, "Value").rpartition(":")[2]))
        code = child(code, "Subcode")
    reason = child(element, "Reason")
    # SOAP 1.1 devices answer with faultcode and faultstring.
    words = text(reason, "Text") if reason is not None else text(element, "faultstring")
    codes = codes or [text(element, "faultcode").rpartition(":")[2]]
    words = words[:_LONGEST_REASON]
    known = [item for item in codes if item]
    raw = known[-1][:64] if known else "fault"
    if any(item in _SIGN_IN_CODES for item in codes):
        return SignInError(f"credentials refused: {raw} {words}".strip())
    return DeviceRefusedError(f"the device refuses: {raw} {words}".strip(), raw)


def local(tag: str) -> str:
    """Return a tag's or a qualified name's local part."""
    return tag.rpartition("}")[2]


def child(element: Element, name: str) -> Element | None:
    """Return the first child with a local name, whatever its namespace."""
    return next((item for item in element if local(item.tag) == name), None)


def children(element: Element, name: str) -> list[Element]:
    """Return the children with a local name."""
    return [item for item in element if local(item.tag) == name]


def text(element: Element, *path: str) -> str:
    """Return the text at a path of local names, empty where there is none."""
    found: Element | None = element
    for name in path:
        found = None if found is None else child(found, name)
    return (found.text or "").strip() if found is not None else ""


def attribute(element: Element, name: str) -> str:
    """Return an attribute by its local name, empty where there is none."""
    return next((value for key, value in element.attrib.items() if local(key) == name), "")


def utc_text(at_ms: int) -> str:
    """Return ms since the epoch as xs:dateTime in Zulu form, which every firmware takes."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"


def utc_ms(value: str) -> int | None:
    """Return an xs:dateTime as ms since the epoch (no offset: UTC), None for what is none."""
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    if not 1970 <= moment.year < 2100:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)
