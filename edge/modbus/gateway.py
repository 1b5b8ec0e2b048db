"""One connection to a Modbus gateway or line, shared by every driver that names it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, Literal, Protocol, TypeVar

from pymodbus import FramerType
from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.client.base import ModbusBaseClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from core.contracts.errors import SettingsError
from edge.driver import LinkError
from edge.modbus.errors import BEHIND_GATEWAY, NoAnswerError, RefusedError, exception_text
from edge.modbus.settings import Endpoint
from edge.modbus.turns import Turns
from edge.modbus.units import Units
from edge.modbus.wire import AnswerFilter
from edge.shared import Shared

T = TypeVar("T", covariant=True)

#: After so many questions in a row without any answer the connection is made anew: it may be
#: half open.
_SILENCES = 2
#: A connection that was refused is not tried again at once by each driver behind it.
_REFUSAL_S = 0.5
#: The time-out is this module's; the library's own must never come first.
_NEVER_S = 600.0
_BUFFER = 4_096
#: The standard's silence between frames at more than 19200 baud, and what is kept where the
#: line's speed is not known.
_LEAST_QUIET_S, _QUIET_BEHIND_TCP_S = 0.001_75, 0.005


class Question(Protocol[T]):
    """Something that can be asked (see :mod:`edge.modbus.questions`)."""

    async def put(self, client: ModbusBaseClient, unit: int) -> ModbusPDU:
        """Send it and return the answer."""
        ...

    def take(self, answer: ModbusPDU) -> T:
        """Return what the answer says."""
        ...


def acquire(shared: Shared, endpoint: Endpoint) -> Gateway:
    """Return the gateway of an endpoint, to be given back with ``shared.release(endpoint.key)``.

    Raises :class:`SettingsError` when other entries of the edge name the same address with
    another framing or other serial settings.
    """
    gateway = shared.acquire(endpoint.key, lambda: Gateway(endpoint))
    if gateway.endpoint != endpoint:
        raise SettingsError(
            f"{endpoint.name}: two entries name it with different framing or serial settings; "
            "they share one connection, so these must be the same"
        )
    return gateway


def _quiet(endpoint: Endpoint) -> float:
    """Return how long (s) a line is silent between two frames: 3.5 characters of 11 bits."""
    if endpoint.framing == "tcp":
        return 0.0
    if endpoint.serial is None:
        return _QUIET_BEHIND_TCP_S
    return max(_LEAST_QUIET_S, 3.5 * 11 / endpoint.serial.baud)


class Gateway:
    """Asks one question at a time; units take turns, and silent ones are asked less often."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.name = endpoint.name
        self.units = Units(monotonic, random or Random())  # noqa: S311 (jitter, not a secret)
        self.counts: Counter[str] = Counter()
        self._monotonic = monotonic
        self._turns = Turns()
        self._filter = AnswerFilter(endpoint.framing)
        self._client: ModbusBaseClient | None = None
        self._trouble: asyncio.Future[LinkError] | None = None
        self._refused: tuple[float, LinkError] | None = None
        self._failed_by: BaseException | None = None
        self._silences = 0
        self._quiet_s = _quiet(endpoint)
        self._quiet_until = 0.0
        # The library logs each failed request as an error; the runner logs the first.
        logging.getLogger("pymodbus").setLevel(logging.CRITICAL + 1)

    async def ask(
        self, unit: int, question: Question[T], timeout_s: float, *, urgent: bool = False
    ) -> tuple[T, float]:
        """Return what a unit answers, and after how many ms.

        Raises :class:`RefusedError` (a Modbus exception), :class:`NoAnswerError` (the unit is
        silent, or the gateway says so) and :class:`LinkError` (no connection, or nothing on it
        can be understood).
        """
        self.units.know(unit)
        async with self._turns.turn(unit, urgent=urgent):
            client = await self._connected(timeout_s)
            await asyncio.sleep(max(self._quiet_until - self._monotonic(), 0))
            began = self._monotonic()
            try:
                answer = await self._exchange(client, unit, question, timeout_s)
            finally:
                self._quiet_until = self._monotonic() + self._quiet_s
            latency_ms = (self._monotonic() - began) * 1000
        where = f"{self.name} unit {unit}, {question}"
        if answer.isError():
            code = int(getattr(answer, "exception_code", 0))
            if code in BEHIND_GATEWAY:
                self.units.silent(unit, self._monotonic() - began)
                raise NoAnswerError(f"{where}: {exception_text(code)}", "device")
            self.units.answered(unit)
            raise RefusedError(where, code)
        self.units.answered(unit)
        return question.take(answer), latency_ms

    async def close(self) -> None:
        """Close the connection; the next question opens it again."""
        self._drop()

    async def _exchange(
        self, client: ModbusBaseClient, unit: int, question: Question[T], timeout_s: float
    ) -> ModbusPDU:
        trouble = self._trouble or asyncio.get_running_loop().create_future()
        asking = asyncio.ensure_future(question.put(client, unit))
        both: set[asyncio.Future[Any]] = {asking, trouble}
        try:
            await asyncio.wait(both, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if asking.done():
                self._silences = 0
                return asking.result()
        except (ModbusException, OSError, AttributeError) as error:
            # AttributeError: the library writes to a serial port that has just gone.
            self._drop()
            raise LinkError(f"{self.name}: {error}", "gateway") from error
        finally:
            if not asking.done():
                asking.cancel()
                with contextlib.suppress(BaseException):
                    await asking
        if trouble.done():
            self._drop()
            self.counts["connections_lost"] += 1
            reason = trouble.result()
            if isinstance(reason, NoAnswerError):
                self.units.silent(unit, timeout_s)
            raise reason
        raise self._unanswered(unit, str(question), timeout_s)

    def _unanswered(self, unit: int, question: str, timeout_s: float) -> LinkError:
        received = self._filter.received
        self.units.silent(unit, timeout_s)
        self.counts["unanswered"] += 1
        self._silences += 1
        if self._silences >= _SILENCES:
            self._drop()
        where = f"{self.name} unit {unit}, {question}"
        if received:
            return NoAnswerError(f"{where}: {received} bytes that are no answer", "protocol")
        return NoAnswerError(f"{where}: no answer", "device")

    # -- connection --------------------------------------------------------------------------

    async def _connected(self, timeout_s: float) -> ModbusBaseClient:
        if self._client is not None and self._client.connected:
            return self._client
        self._drop()
        if self._refused is not None and self._monotonic() < self._refused[0]:
            raise self._refused[1]
        client = self._make()
        self._trouble = asyncio.get_running_loop().create_future()
        self._failed_by = None
        connected = False
        try:
            async with asyncio.timeout(timeout_s):
                connected = await client.connect()
        except (TimeoutError, OSError, ValueError) as error:
            self._failed_by = self._failed_by or error
        finally:
            if not connected:
                client.close()
        if not connected:
            refusal = LinkError(f"{self.name}: {self._reason()}", self._blame())
            self._refused = (self._monotonic() + _REFUSAL_S, refusal)
            self.counts["connections_refused"] += 1
            raise refusal
        self._client = client
        self._silences = 0
        if self._refused is not None:
            self._refused = None
            self.units.wake()
        return client

    def _make(self) -> ModbusBaseClient:
        serial = self.endpoint.serial
        client: ModbusBaseClient
        if serial is not None:
            client = AsyncModbusSerialClient(
                serial.port, framer=FramerType.RTU, baudrate=serial.baud,
                parity=serial.parity_letter, stopbits=serial.stop_bits,
                handle_local_echo=serial.local_echo, timeout=_NEVER_S, retries=0,
                reconnect_delay=0, trace_packet=self._packet, trace_connect=self._connection,
            )  # fmt: skip
        else:
            framer = FramerType.SOCKET if self.endpoint.framing == "tcp" else FramerType.RTU
            client = AsyncModbusTcpClient(
                self.endpoint.host, port=self.endpoint.port, framer=framer, timeout=_NEVER_S,
                retries=0, reconnect_delay=0, trace_packet=self._packet,
                trace_connect=self._connection,
            )  # fmt: skip
        # Noise before an answer must not push it out of the library's buffer.
        client.ctx.max_buffer_size = _BUFFER
        create = client.ctx.call_create

        async def noting() -> object:
            # The library logs why it could not connect, and returns only that it could not.
            try:
                return await create()
            except Exception as error:
                self._failed_by = error
                if isinstance(error, OSError):
                    raise
                # termios.error of a port that has just gone is not an OSError.
                raise OSError(str(error)) from error

        client.ctx.call_create = noting
        return client

    def _reason(self) -> str:
        return str(self._failed_by or "") or "no connection in time"

    def _blame(self) -> Literal["gateway", "network"]:
        if self.endpoint.serial is not None or isinstance(self._failed_by, ConnectionError):
            return "gateway"
        return "network"

    def _drop(self) -> None:
        client, self._client = self._client, None
        self._trouble = None
        if client is not None:
            client.close()

    # -- what the library calls --------------------------------------------------------------

    def _packet(self, sending: bool, packet: bytes) -> bytes:  # noqa: FBT001 (as it is called)
        if sending:
            self._filter.ask(packet)
            return packet
        frame = self._filter.pick(packet)
        if self._filter.spoilt is not None:
            self._tell(NoAnswerError(f"{self.name}: {self._filter.spoilt}", "protocol"))
        return frame

    def _connection(self, made: bool) -> None:  # noqa: FBT001 (as it is called)
        if not made:
            self._tell(LinkError(f"{self.name}: the connection was lost", "gateway"))

    def _tell(self, error: LinkError) -> None:
        if self._trouble is not None and not self._trouble.done():
            self._trouble.set_result(error)
