"""The canary: tries on a broker what an edge must not be able to do (ADR 0017).

A collector believes the topic: what comes on ``{site}/{edge}/batch`` is that edge's, because the
broker lets nobody else publish there. It cannot see certificates; so before it listens, it tries.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

import structlog

from core.contracts import topics
from core.contracts.errors import EstateError, RetryableError
from core.runtime.hosts import is_loopback
from core.runtime.link import Link, LinkOptions
from core.runtime.link_answers import NotDeliveredError
from core.runtime.settings import BrokerSettings

log = structlog.get_logger(__name__)

_NOT_AUTHORIZED = 0x87
_ANSWER_S = 5.0
_AGAIN_S = 1.0
#: Whoever finds this in the dead letters shall know what it is.
_PAYLOAD = b'{"canary": "the broker must refuse this message"}'
#: So many failed attempts, and one counts as not let in.
_ENOUGH = 2
_Failed = Callable[[BaseException], None]


class ExposedBrokerError(EstateError):
    """The broker allows what must be forbidden; the message says what, and the remedy."""


def is_wanted(broker: BrokerSettings) -> bool:
    """Tell whether a collector is to try this broker; warn where it cannot or may not.

    A broker of our own, and one on loopback without certificates, are for one machine, where
    whoever reaches the port could read the files as well.
    """
    if broker.embedded:
        return False
    if broker.cert_file is None:
        if not is_loopback(broker.host):
            log.warning(
                "whoever reaches the broker can speak as any edge; "
                "give the parts certificates: estate broker-config",
                broker=broker.host,
            )
        return False
    if not broker.canary:
        log.warning("broker.canary is off: nobody tries whether edges are kept apart")
    return broker.canary


def examine(broker: BrokerSettings, name: str) -> None:
    """Try the broker; return when everything forbidden was refused.

    Raises :class:`ExposedBrokerError` when something was not, and :class:`RetryableError` when
    that cannot be said now.
    """
    field = {"port": broker.canary_port or broker.port}
    _must_be_refused(broker, name, "the collector's own certificate (broker.cert_file)")
    if broker.canary_cert_file is not None:
        files = {"cert_file": broker.canary_cert_file, "key_file": broker.canary_key_file}
        edge = broker.model_copy(update={**field, **files})
        _must_be_refused(edge, name, "an edge's certificate (broker.canary_cert_file)")
    stranger = broker.model_copy(update={**field, "cert_file": None, "key_file": None})
    _must_stay_out(stranger, name)


class Gate:
    """Lets a collector listen once its broker has been tried.

    ``passed`` is called when the broker refused everything, ``failed`` when it did not; until
    either is known it is tried again, since a broker may be away when a collector starts.
    """

    def __init__(
        self, broker: BrokerSettings, name: str, *, passed: Callable[[], None], failed: _Failed
    ) -> None:
        self._broker = broker
        self._name = name
        self._passed = passed
        self._failed = failed
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._tried = threading.Event()
        self._error: EstateError | None = None
        self._patient = threading.Event()
        self._thread = threading.Thread(target=self._run, name="canary", daemon=True)

    def start(self, patience_s: float = _ANSWER_S) -> None:
        """Try in the background; raise :class:`ExposedBrokerError` if the first attempt fails.

        After ``patience_s`` the first attempt is not waited for any longer.
        """
        self._thread.start()
        self._tried.wait(patience_s)
        with self._lock:
            self._patient.set()
            error = self._error
        if error is not None:
            raise error

    def stop(self) -> None:
        """Stop; ``passed`` and ``failed`` are not called any more."""
        with self._lock:
            self._stopping.set()

    def _run(self) -> None:
        is_told = False
        while not self._stopping.is_set():
            try:
                examine(self._broker, self._name)
            except ExposedBrokerError as error:
                return self._fail(error)
            except RetryableError as error:
                if not is_told:
                    log.warning("the broker cannot be tried yet", why=str(error))
                is_told = True
                self._tried.set()
            except Exception as error:
                log.exception("the canary failed")
                return self._fail(EstateError(f"broker.canary: {error!r}"))
            else:
                return self._pass()
            self._stopping.wait(_AGAIN_S)
        return None

    def _pass(self) -> None:
        with self._lock:
            if not self._stopping.is_set():
                log.info("the broker keeps edges apart")
                self._passed()
        self._tried.set()

    def _fail(self, error: EstateError) -> None:
        log.error("the broker does not keep edges apart", why=str(error))
        with self._lock:
            self._error = error
            if self._patient.is_set() and not self._stopping.is_set():
                self._failed(error)
        self._tried.set()


def listen(
    stack: ExitStack,
    broker: BrokerSettings,
    name: str,
    connect: Callable[[], None],
    on_failure: _Failed | None,
) -> None:
    """Connect; a broker that others reach is tried first, since topics are believed.

    ``stack`` ends the trying. Raises :class:`ExposedBrokerError` as :meth:`Gate.start` does.
    """
    if not is_wanted(broker):
        connect()
        return

    def failed(error: BaseException) -> None:
        if on_failure is not None:
            on_failure(error)

    gate = Gate(broker, name, passed=connect, failed=failed)
    stack.callback(gate.stop)
    gate.start()


def _must_be_refused(broker: BrokerSettings, name: str, who: str) -> None:
    """Publish for an edge that one is not."""
    topic = topics.batch(*_forbidden())
    link = _link(broker, name)
    link.start()
    try:
        if not _is_let_in(link):
            raise RetryableError(f"no connection to {broker.host}:{broker.port} with {who}")
        code = link.publish(topic, _PAYLOAD).result(_ANSWER_S)
    except NotDeliveredError as refused:
        if refused.code == _NOT_AUTHORIZED:
            return
        raise
    except TimeoutError:
        raise RetryableError(f"no answer from {broker.host}:{broker.port}") from None
    finally:
        link.stop()
    raise ExposedBrokerError(
        f"broker: with {who} anybody could publish on {topic} (the broker's answer was "
        f"0x{code:02x}, not 0x87): it does not keep edges apart. {_REMEDY}"
    )


def _must_stay_out(broker: BrokerSettings, name: str) -> None:
    """Connect without a certificate."""
    link = _link(broker, name)
    link.start()
    try:
        is_in = _is_let_in(link)
    finally:
        link.stop()
    if is_in is None:
        raise RetryableError(f"no answer from {broker.host}:{broker.port}")
    if is_in:
        raise ExposedBrokerError(
            f"broker: {broker.host}:{broker.port} lets in who has no certificate. {_REMEDY}"
        )


_REMEDY = (
    "Use the configuration that `estate broker-config` writes, or set broker.canary to false "
    "if you are sure"
)


def _is_let_in(link: Link) -> bool | None:
    """Tell whether a connection was made, or refused; None when neither came in time."""
    deadline = time.monotonic() + _ANSWER_S
    while time.monotonic() < deadline:
        if link.wait_connected(0.02):
            return True
        if link.failed_attempts >= _ENOUGH:
            return False
    return None


def _link(broker: BrokerSettings, name: str) -> Link:
    client_id = f"{name}-canary-{secrets.token_hex(4)}"
    return Link(broker, LinkOptions(client_id, backoff_s=(0.05, 0.5)))


def _forbidden() -> tuple[str, str]:
    return topics.CANARY_OTHER.site, topics.CANARY_OTHER.sender
