"""Why an RTSP address cannot be opened: FFmpeg only says that it cannot.

One DESCRIBE (RFC 2326), with Basic or Digest credentials where the server asks for them, tells
a refused password from a wrong path and both from a server that is away or dumb.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import time
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import parse_http_list, parse_keqv_list

from edge.driver import LinkError

_PORTS = {"rtsp": 554, "rtsps": 322}
_LONGEST = 65_536
_STATUS = re.compile(rb"RTSP/1\.\d (\d{3})")


def why(url: str, timeout_s: float) -> LinkError:
    """Ask the server once more, plainly, and return what is wrong."""
    parts = urlsplit(url)
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    try:
        status, head = _describe(bare, parts.scheme.lower(), timeout_s, "")
        if status == 401 and parts.username is not None:
            answer = _authorization(
                head, bare, unquote(parts.username), unquote(parts.password or "")
            )
            status, _ = _describe(bare, parts.scheme.lower(), timeout_s, answer)
    except TimeoutError:
        return LinkError(f"no answer for {timeout_s:g} s", "device")
    except (OSError, ValueError) as error:
        return LinkError(str(error) or type(error).__name__, "network")
    if status in (401, 403):
        return LinkError(f"credentials refused ({status})", "credentials")
    if status != 200:
        return LinkError(f"RTSP status {status}" if status else "no RTSP answer", "protocol")
    return LinkError("described, but gives no picture", "device")


def _describe(url: str, scheme: str, timeout_s: float, authorization: str) -> tuple[int, str]:
    """Return the status (0: not RTSP) and the head of the answer to a DESCRIBE."""
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or _PORTS.get(scheme, 554))
    lines = [f"DESCRIBE {url} RTSP/1.0", "CSeq: 1", "Accept: application/sdp"]
    if authorization:
        lines.append(f"Authorization: {authorization}")
    deadline = time.monotonic() + timeout_s
    with socket.create_connection(address, timeout_s) as plain:
        sock: socket.socket = plain
        if scheme == "rtsps":
            # FFmpeg does not verify RTSP servers either; cameras sign their own certificates.
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            sock = context.wrap_socket(plain, server_hostname=parts.hostname)
        sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        received = b""
        while b"\r\n\r\n" not in received and len(received) < _LONGEST:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            sock.settimeout(left)
            chunk = sock.recv(4096)
            if not chunk:
                break
            received += chunk
    match = _STATUS.match(received)
    return (int(match[1]) if match else 0), received.decode("latin-1")


def _authorization(head: str, url: str, username: str, password: str) -> str:
    """Return the Authorization header that a 401 asks for (RFC 7616, MD5 as cameras use it)."""
    challenges = re.findall(r"(?im)^www-authenticate:\s*(.+?)\s*$", head)
    digest = next((c[7:] for c in challenges if c.lower().startswith("digest ")), None)
    if digest is None:
        return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
    fields = parse_keqv_list(parse_http_list(digest))
    realm, nonce = fields.get("realm", ""), fields.get("nonce", "")
    ha1, ha2 = _md5(f"{username}:{realm}:{password}"), _md5(f"DESCRIBE:{url}")
    given = f'username="{username}", realm="{realm}", nonce="{nonce}", uri="{url}"'
    if "auth" in fields.get("qop", ""):
        response = _md5(f"{ha1}:{nonce}:00000001:00c0ffee:auth:{ha2}")
        given += ', qop=auth, nc=00000001, cnonce="00c0ffee"'
    else:
        response = _md5(f"{ha1}:{nonce}:{ha2}")
    return f'Digest {given}, response="{response}"'


def _md5(text: str) -> str:
    # The protocol's own digest; no secret of ours rests on it.
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
