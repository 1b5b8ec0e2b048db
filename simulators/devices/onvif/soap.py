"""The device's side of SOAP 1.2: requests read, tokens checked, answers and faults written."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from simulators.devices.http import Response

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

TYPE = "application/soap+xml; charset=utf-8"
NAMESPACES = {
    "s": "http://www.w3.org/2003/05/soap-envelope",
    "wsa": "http://www.w3.org/2005/08/addressing",
    "wsnt": "http://docs.oasis-open.org/wsn/b-2",
    "wstop": "http://docs.oasis-open.org/wsn/t-1",
    "ter": "http://www.onvif.org/ver10/error",
    "tns1": "http://www.onvif.org/ver10/topics",
    "tt": "http://www.onvif.org/ver10/schema",
    "tds": "http://www.onvif.org/ver10/device/wsdl",
    "tev": "http://www.onvif.org/ver10/events/wsdl",
    "trt": "http://www.onvif.org/ver10/media/wsdl",
    "tan": "http://www.onvif.org/ver20/analytics/wsdl",
    "tdc": "http://www.onvif.org/ver10/doorcontrol/wsdl",
    "tac": "http://www.onvif.org/ver10/accesscontrol/wsdl",
    "pt": "http://www.onvif.org/ver10/pacs",
    "xs": "http://www.w3.org/2001/XMLSchema",
}
#: How far (s) a token's time may be from the device's.
_TOKEN_AGE_S = 30
_NONCES = 4096


class SoapFaultError(Exception):
    """A fault to answer with; ``code`` is a sub-code such as ``ter:NotAuthorized``."""

    def __init__(self, code: str, reason: str, *, status: int = 400) -> None:
        self.code, self.reason, self.status = code, reason, status
        super().__init__(f"{code}: {reason}")


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the operation's element, the headers, and where it was sent."""

    namespace: str
    operation: str
    body: Element
    headers: Element | None
    path: str

    @property
    def signed(self) -> bool:
        """Tell whether it carries a UsernameToken."""
        return self.headers is not None and find(self.headers, "UsernameToken") is not None

    def text(self, name: str) -> str:
        """Return the text of a field anywhere in the body, empty where it is not."""
        element = find(self.body, name)
        return "" if element is None else (element.text or "").strip()

    def header(self, name: str) -> str:
        """Return the text of a header."""
        element = None if self.headers is None else find(self.headers, name)
        return "" if element is None else (element.text or "").strip()


def read(content: bytes, path: str) -> Call:
    """Read a request; raise :class:`SoapFaultError`."""
    try:
        root: Element = fromstring(content, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise SoapFaultError("ter:WellFormed", type(error).__name__) from None
    space = NAMESPACES["s"]
    if root.tag != f"{{{space}}}Envelope":
        raise SoapFaultError("ter:WellFormed", "no SOAP 1.2 envelope")
    body = root.find(f"{{{space}}}Body")
    first = None if body is None else next(iter(body), None)
    if first is None:
        raise SoapFaultError("ter:WellFormed", "no body")
    namespace, _, operation = first.tag.removeprefix("{").rpartition("}")
    return Call(namespace, operation, first, root.find(f"{{{space}}}Header"), path)


def find(element: Element, name: str) -> Element | None:
    """Return the first element of a local name at any depth."""
    return next((item for item in element.iter() if item.tag.rpartition("}")[2] == name), None)


class TokenSignIn:
    """Checks WS-Security UsernameTokens with digests, their time and their nonces."""

    def __init__(self, username: str, password: str) -> None:
        self._username = username
        self._password = password
        self._nonces: OrderedDict[str, None] = OrderedDict()
        self.refused = 0

    def check(self, call: Call, now_ms: int) -> None:
        """Raise :class:`SoapFaultError` for a token that is wrong, old, or used before."""
        token = None if call.headers is None else find(call.headers, "UsernameToken")
        if token is None:
            raise SoapFaultError("ter:NotAuthorized", "Sender not Authorized")
        fields = {item.tag.rpartition("}")[2]: (item.text or "").strip() for item in token}
        try:
            nonce = base64.b64decode(fields.get("Nonce", ""), validate=True)
            created = datetime.fromisoformat(fields.get("Created", ""))
        except (binascii.Error, ValueError):
            raise self._refuse("unreadable token") from None
        if created.tzinfo is None:
            created = created.replace(tzinfo=UTC)
        text = nonce + fields["Created"].encode() + self._password.encode()
        # The protocol's own digest.
        digest = base64.b64encode(hashlib.sha1(text, usedforsecurity=False).digest()).decode()
        good = fields.get("Username") == self._username and hmac.compare_digest(
            digest, fields.get("Password", "")
        )
        if not good:
            raise self._refuse("wrong name or password")
        if abs(created.timestamp() - now_ms / 1000) > _TOKEN_AGE_S:
            raise self._refuse("token out of its time")
        if fields["Nonce"] in self._nonces:
            raise self._refuse("nonce used before")
        self._nonces[fields["Nonce"]] = None
        if len(self._nonces) > _NONCES:
            self._nonces.popitem(last=False)

    def _refuse(self, reason: str) -> SoapFaultError:
        self.refused += 1
        return SoapFaultError("ter:NotAuthorized", f"Sender not Authorized: {reason}")


def answer(body: str, action: str = "", relates_to: str = "") -> Response:
    """Return an answer with this body."""
    header = ""
    if action:
        header += f"<wsa:Action>{escape(action)}</wsa:Action>"
    if relates_to:
        header += f"<wsa:RelatesTo>{escape(relates_to)}</wsa:RelatesTo>"
    return Response(200, _envelope(header, body), TYPE)


def fault(error: SoapFaultError) -> Response:
    """Return the answer that a fault is."""
    body = (
        "<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode>"
        f"<s:Value>{error.code}</s:Value></s:Subcode></s:Code>"
        f'<s:Reason><s:Text xml:lang="en">{escape(error.reason)}</s:Text></s:Reason></s:Fault>'
    )
    return Response(error.status, _envelope("", body), TYPE)


def _envelope(header: str, body: str) -> bytes:
    spaces = " ".join(f'xmlns:{name}="{space}"' for name, space in NAMESPACES.items())
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><s:Envelope {spaces}>'
        f"<s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def utc(at_ms: int) -> str:
    """Return ms since the epoch as xs:dateTime."""
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"
