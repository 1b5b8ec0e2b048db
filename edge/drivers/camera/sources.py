"""Where pictures come from: MJPEG or single JPEGs over HTTP, or what OpenCV opens (RTSP, files).

A source is used by one thread. ``frames()`` yields a picture at most so often as it is asked
for and raises :class:`LinkError` within seconds when none comes; what is not asked for is not
decoded (RTSP and files: not converted).
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit, urlunsplit

import cv2
import httpx
import numpy as np

from edge.driver import LinkError
from edge.drivers.camera import rtsp
from edge.drivers.camera.settings import CameraSettings
from edge.vision.frame import Frame, from_jpeg, from_picture

_START, _END = b"\xff\xd8", b"\xff\xd9"
_LONGEST_JPEG = 8 * 1024 * 1024
_BAD_PICTURES = 25
#: A tenth earlier than due, so that a camera at the same rate is not halved by jitter.
_EARLY = 0.9
#: For FFmpeg: RTP within the RTSP connection (no packet is lost unseen), and a short look at the
#: stream before the first picture. OpenCV takes them from the environment only, so they hold for
#: files of this process, too: none of them may cost a picture (as ``nobuffer`` does).
_FFMPEG = "rtsp_transport;tcp|analyzeduration;500000"

Pause = Callable[[], float]
"""Returns the real time (s) until the next picture is wanted."""


class Source(Protocol):
    """A stream of pictures."""

    counts: Counter[str]
    """What was passed over."""

    def frames(self, stop: threading.Event, pause: Pause) -> Iterator[Frame]:
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


class HttpSource:
    """Pictures over HTTP, with Digest or Basic authentication.

    With ``poll_s`` the address gives one JPEG at a time, else a stream of them (MJPEG).
    """

    def __init__(
        self,
        url: str,
        credentials: tuple[str, str] | None,
        *,
        timeout_s: float,
        poll_s: float | None = None,
    ) -> None:
        self._url = url
        self._credentials = credentials
        self._timeout_s = timeout_s
        self._poll_s = poll_s
        self.counts: Counter[str] = Counter()

    def frames(self, stop: threading.Event, pause: Pause) -> Iterator[Frame]:
        """Yield pictures; those that come too soon are not even decoded."""
        try:
            with httpx.Client(timeout=self._timeout_s, trust_env=False) as client:
                if self._poll_s is None:
                    yield from self._stream(client, stop, pause)
                else:
                    yield from self._poll(client, stop, self._poll_s)
        except httpx.TimeoutException:
            raise LinkError(f"no picture for {self._timeout_s:g} s", "device") from None
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise LinkError(str(error) or type(error).__name__, "network") from error

    def _stream(self, client: httpx.Client, stop: threading.Event, pause: Pause) -> Iterator[Frame]:
        for auth in self._ways():
            with client.stream("GET", self._url, auth=auth) as response:
                if not self._wants_basic(response, auth):
                    yield from self._read(response, stop, pause)
                    return

    def _poll(self, client: httpx.Client, stop: threading.Event, every_s: float) -> Iterator[Frame]:
        bad = 0
        while not stop.is_set():
            began = time.monotonic()
            frame = from_jpeg(self._fetch(client))
            if frame is not None:
                bad = 0
                yield frame
            else:
                self.counts["bad_pictures"] += 1
                bad += 1
            if bad * every_s > self._timeout_s:
                raise LinkError("pictures that cannot be decoded", "protocol")
            stop.wait(max(every_s - (time.monotonic() - began), 0.02))

    def _fetch(self, client: httpx.Client) -> bytes:
        """Return one picture's bytes; raise :class:`LinkError` or what httpx raises."""
        deadline = time.monotonic() + self._timeout_s
        for auth in self._ways():
            with client.stream("GET", self._url, auth=auth) as response:
                if self._wants_basic(response, auth):
                    continue
                _check(response)
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > _LONGEST_JPEG:
                        raise LinkError("the picture has no end", "protocol")
                    if time.monotonic() > deadline:
                        raise LinkError(f"no picture for {self._timeout_s:g} s", "device")
                return bytes(body)
        raise LinkError("credentials refused (401)", "credentials")

    def _ways(self) -> list[httpx.Auth | None]:
        if self._credentials is None:
            return [None]
        return [httpx.DigestAuth(*self._credentials), httpx.BasicAuth(*self._credentials)]

    def _wants_basic(self, response: httpx.Response, auth: httpx.Auth | None) -> bool:
        challenge = response.headers.get("www-authenticate", "").lower()
        return (
            response.status_code == 401
            and isinstance(auth, httpx.DigestAuth)
            and "basic" in challenge
            and "digest" not in challenge
        )

    def _read(
        self, response: httpx.Response, stop: threading.Event, pause: Pause
    ) -> Iterator[Frame]:
        _check(response)
        splitter = JpegSplitter()
        taken = yielded = time.monotonic()
        wanted_at, bad = 0.0, 0
        for chunk in response.iter_raw():
            pictures = splitter.feed(chunk)
            now = time.monotonic()
            if pictures:
                # It lives, whether the picture is looked at or not.
                taken = now
            if pictures and now >= wanted_at:
                frame = from_jpeg(pictures[-1])
                if frame is not None:
                    yielded, bad = now, 0
                    yield frame
                    wanted_at = now + pause() * _EARLY
                else:
                    self.counts["bad_pictures"] += 1
                    bad += 1
            if splitter.oversize:
                self.counts["oversize_pictures"] += splitter.oversize
                splitter.oversize = 0
            if stop.is_set():
                return
            now = time.monotonic()
            if bad > _BAD_PICTURES or (bad and now - yielded > self._timeout_s):
                raise LinkError("pictures that cannot be decoded", "protocol")
            if now - taken > self._timeout_s:
                raise LinkError(f"no picture for {self._timeout_s:g} s", "device")
        raise LinkError("the stream ended", "network")


class CaptureSource:
    """RTSP and files, through OpenCV's FFmpeg."""

    def __init__(self, url: str, *, timeout_s: float, is_file: bool, loop: bool = True) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._is_file = is_file
        self._loop = loop
        self._over = False
        self.counts: Counter[str] = Counter()

    def frames(self, stop: threading.Event, pause: Pause) -> Iterator[Frame]:
        """Yield pictures; a file plays at its own speed."""
        if self._over:
            raise LinkError("the file has been played", "device")
        capture = self._open()
        try:
            own_pause = 1 / min(max(capture.get(cv2.CAP_PROP_FPS) or 25.0, 1.0), 120.0)
            wanted_at, due, bad = 0.0, time.monotonic(), 0
            while not stop.is_set():
                self._grab(capture)
                now = time.monotonic()
                if now >= wanted_at:
                    good, picture = capture.retrieve()
                    if good and picture is not None:
                        bad = 0
                        yield from_picture(picture.astype(np.uint8, copy=False))
                        wanted_at = now + pause() * _EARLY
                    else:
                        self.counts["bad_pictures"] += 1
                        bad += 1
                        if bad > _BAD_PICTURES:
                            raise LinkError("pictures that cannot be decoded", "protocol")
                if self._is_file:
                    due = max(due + own_pause, time.monotonic() - 1)
                    stop.wait(max(due - time.monotonic(), 0))
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", _FFMPEG)
        # What is wrong with a stream is told by the driver; FFmpeg would say it for each picture.
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        limit = int(self._timeout_s * 1000)
        options = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, limit, cv2.CAP_PROP_READ_TIMEOUT_MSEC, limit,
            cv2.CAP_PROP_N_THREADS, 1,
        ]  # fmt: skip
        capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, options)
        if capture.isOpened():
            return capture
        capture.release()
        if self._is_file:
            raise LinkError("the file cannot be opened", "device")
        raise rtsp.why(self._url, self._timeout_s)

    def _grab(self, capture: cv2.VideoCapture) -> None:
        if capture.grab():
            return
        if not self._is_file:
            raise LinkError("the stream gives no picture any more", "device")
        if not self._loop:
            self._over = True
            raise LinkError("the file has been played", "device")
        if not capture.set(cv2.CAP_PROP_POS_FRAMES, 0) or not capture.grab():
            raise LinkError("the file has no pictures", "protocol")


def open_source(
    settings: CameraSettings, credentials: tuple[str, str] | None, base: Path
) -> Source:
    """Return the source for a camera's address; nothing is opened yet."""
    url, timeout_s = settings.url, settings.timeout_s
    scheme = urlsplit(url).scheme.lower()
    if scheme in ("http", "https"):
        return HttpSource(url, credentials, timeout_s=timeout_s, poll_s=settings.poll_s)
    if scheme in ("rtsp", "rtsps"):
        full = url if credentials is None else _with_credentials(url, credentials)
        return CaptureSource(full, timeout_s=timeout_s, is_file=False)
    path = base / url.removeprefix("file://")
    return CaptureSource(str(path), timeout_s=timeout_s, is_file=True, loop=settings.loop)


def _with_credentials(url: str, credentials: tuple[str, str]) -> str:
    parts = urlsplit(url)
    user, password = (quote(item, safe="") for item in credentials)
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc}"))


def _check(response: httpx.Response) -> None:
    if response.status_code in (401, 403):
        raise LinkError(f"credentials refused ({response.status_code})", "credentials")
    if response.status_code != httpx.codes.OK:
        raise LinkError(f"HTTP status {response.status_code}", "protocol")
