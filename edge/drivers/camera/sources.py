"""Where pictures come from: MJPEG over HTTP, or what OpenCV opens (RTSP, files).

A source is used by one thread. ``frames()`` yields a picture at most so often as asked and
raises :class:`LinkError` within seconds when none comes.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit, urlunsplit

import cv2
import httpx
import numpy as np

from edge.driver import LinkError
from edge.vision.picture import Picture

_START, _END = b"\xff\xd8", b"\xff\xd9"
_LONGEST_JPEG = 8 * 1024 * 1024
_MOST_PIXELS = 4096 * 2304
_BAD_PICTURES = 25


class Source(Protocol):
    """A stream of pictures."""

    def frames(self, stop: threading.Event) -> Iterator[Picture]:
        """Yield pictures until ``stop`` is set; raise :class:`LinkError` when they end."""
        ...


class JpegSplitter:
    """Cuts a byte stream into JPEG pictures by their markers, with bounded memory."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self.oversize = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes and return the pictures that are complete with them."""
        self._buffer += chunk
        found: list[bytes] = []
        while True:
            start = self._buffer.find(_START)
            if start < 0:
                del self._buffer[:-1]
                self._searched = 0
                return found
            if start:
                del self._buffer[:start]
                self._searched = 0
            # Within the entropy-coded data FFh is always followed by 00h or a restart marker.
            end = self._buffer.find(_END, max(self._searched, 2))
            if end < 0:
                self._searched = max(len(self._buffer) - 1, 0)
                if len(self._buffer) > _LONGEST_JPEG:
                    self.oversize += 1
                    self._buffer.clear()
                return found
            found.append(bytes(self._buffer[: end + 2]))
            del self._buffer[: end + 2]
            self._searched = 0


class MjpegSource:
    """MJPEG over HTTP, with Digest or Basic authentication."""

    def __init__(
        self, url: str, credentials: tuple[str, str] | None, *, fps: float, timeout_s: float
    ) -> None:
        self._url = url
        self._credentials = credentials
        self._pause_s = 1 / fps
        self._timeout_s = timeout_s

    def frames(self, stop: threading.Event) -> Iterator[Picture]:
        """Yield pictures; those that come too soon are not even decoded."""
        try:
            with httpx.Client(timeout=self._timeout_s, trust_env=False) as client:
                auth: httpx.Auth | None = self._credentials and httpx.DigestAuth(*self._credentials)
                with client.stream("GET", self._url, auth=auth) as response:
                    if not self._wants_basic(response):
                        yield from self._read(response, stop)
                        return
                auth = httpx.BasicAuth(*(self._credentials or ("", "")))
                with client.stream("GET", self._url, auth=auth) as response:
                    yield from self._read(response, stop)
        except httpx.TimeoutException:
            raise LinkError(f"no picture for {self._timeout_s:g} s", "device") from None
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise LinkError(str(error) or type(error).__name__, "network") from error

    def _wants_basic(self, response: httpx.Response) -> bool:
        challenge = response.headers.get("www-authenticate", "").lower()
        return response.status_code == 401 and bool(self._credentials) and "basic" in challenge

    def _read(self, response: httpx.Response, stop: threading.Event) -> Iterator[Picture]:
        if response.status_code in (401, 403):
            raise LinkError(f"credentials refused ({response.status_code})", "credentials")
        if response.status_code != httpx.codes.OK:
            raise LinkError(f"HTTP status {response.status_code}", "protocol")
        splitter = JpegSplitter()
        taken = time.monotonic()
        # A tenth earlier than due, so that a camera at the same rate is not halved by jitter.
        due, pace, bad = 0.0, self._pause_s * 0.9, 0
        for chunk in response.iter_raw():
            pictures = splitter.feed(chunk)
            now = time.monotonic()
            if pictures and now >= due:
                picture = _decode(pictures[-1])
                if picture is not None:
                    taken, due, bad = now, now + pace, 0
                    yield picture
                else:
                    bad += 1
            if stop.is_set():
                return
            if bad > _BAD_PICTURES:
                raise LinkError("pictures that cannot be decoded", "protocol")
            if time.monotonic() - taken > self._timeout_s:
                raise LinkError(f"no picture for {self._timeout_s:g} s", "device")
        raise LinkError("the stream ended", "network")


class CaptureSource:
    """RTSP and files, through OpenCV's FFmpeg."""

    def __init__(self, url: str, *, fps: float, timeout_s: float, is_file: bool) -> None:
        self._url = url
        self._pause_s = 1 / fps
        self._timeout_s = timeout_s
        self._is_file = is_file

    def frames(self, stop: threading.Event) -> Iterator[Picture]:
        """Yield pictures; a file plays at its own speed and begins again at its end."""
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp")
        limit = int(self._timeout_s * 1000)
        options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit]
        capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, options)
        try:
            if not capture.isOpened():
                raise LinkError("the video cannot be opened", "network")
            own_pause = 1 / min(max(capture.get(cv2.CAP_PROP_FPS) or 25.0, 1.0), 120.0)
            due = 0.0
            while not stop.is_set():
                began = time.monotonic()
                if not capture.grab():
                    if not (self._is_file and capture.set(cv2.CAP_PROP_POS_FRAMES, 0)):
                        raise LinkError("the video ended or gives no picture", "device")
                    if not capture.grab():
                        raise LinkError("the file has no pictures", "protocol")
                if began >= due:
                    due = began + self._pause_s * 0.9
                    good, picture = capture.retrieve()
                    if good and picture is not None:
                        yield picture.astype(np.uint8, copy=False)
                if self._is_file:
                    stop.wait(max(own_pause - (time.monotonic() - began), 0))
        finally:
            capture.release()


def open_source(
    url: str, credentials: tuple[str, str] | None, base: Path, *, fps: float, timeout_s: float
) -> Source:
    """Return the source for an address; nothing is opened yet."""
    scheme = urlsplit(url).scheme.lower()
    if scheme in ("http", "https"):
        return MjpegSource(url, credentials, fps=fps, timeout_s=timeout_s)
    if scheme in ("rtsp", "rtsps"):
        full = url if credentials is None else _with_credentials(url, credentials)
        return CaptureSource(full, fps=fps, timeout_s=timeout_s, is_file=False)
    path = base / url.removeprefix("file://")
    return CaptureSource(str(path), fps=fps, timeout_s=timeout_s, is_file=True)


def _with_credentials(url: str, credentials: tuple[str, str]) -> str:
    parts = urlsplit(url)
    user, password = (quote(item, safe="") for item in credentials)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc}"))


def _decode(jpeg: bytes) -> Picture | None:
    size = _jpeg_size(jpeg)
    if size is None or size[0] * size[1] > _MOST_PIXELS:
        return None
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    return None if picture is None else picture.astype(np.uint8, copy=False)


def _jpeg_size(jpeg: bytes) -> tuple[int, int] | None:
    """Return (width, height) from the frame header, so that a bomb is not even decoded."""
    at = 2
    while at + 9 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (
                int.from_bytes(jpeg[at + 5 : at + 7], "big"),
                int.from_bytes(jpeg[at + 7 : at + 9], "big"),
            )
            return width, height
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return None
