"""An input and output module: dry contacts, relays with a timer of their own, inputs that count."""

from __future__ import annotations

from core.runtime.clock import Clock
from simulators.devices.modbus import ILLEGAL_ADDRESS, Bank, ModbusError, Table, pick

#: A holding register from here on switches a relay on for so many tenths of a second.
PULSE_BASE = 100
#: Counters of the inputs: two input registers each, high word first.
COUNTER_BASE = 0


class IoModule(Bank):
    """Contacts (discrete inputs), relays (coils), and a counter for each contact."""

    def __init__(self, clock: Clock, *, inputs: int = 16, relays: int = 8) -> None:
        self._clock = clock
        self.contacts = [False] * inputs
        self.pulses = [0] * inputs
        self._relays = [False] * relays
        self._off_at: dict[int, int] = {}
        self.switched: list[tuple[int, int, bool]] = []
        """(ms, relay from 0, on) of each command."""
        self.identification = {0: "Simulated", 1: "IO-16-8", 2: "1.0"}

    def close_contact(self, number: int, *, closed: bool = True) -> None:
        """Close or open a contact, from 0; a closing one is counted."""
        if closed and not self.contacts[number]:
            self.pulses[number] += 1
        self.contacts[number] = closed

    def count(self, number: int, pulses: int) -> None:
        """Add pulses to a contact's counter, which rolls over at 2³²."""
        self.pulses[number] = (self.pulses[number] + pulses) % (1 << 32)

    def relay(self, number: int) -> bool:
        """Tell whether a relay is on, from 0."""
        due = self._off_at.get(number)
        if due is not None and self._clock.now_ms() >= due:
            del self._off_at[number]
            self._relays[number] = False
        return self._relays[number]

    def restart(self) -> None:
        """Lose the power for a moment: relays fall off, counters stay."""
        self._relays = [False] * len(self._relays)
        self._off_at.clear()

    def read(self, table: Table, address: int, count: int) -> list[int]:
        """Return contacts, relays, or counters."""
        values: dict[int, int]
        if table == "discrete":
            values = dict(enumerate(map(int, self.contacts)))
        elif table == "coil":
            values = {number: int(self.relay(number)) for number in range(len(self._relays))}
        elif table == "input":
            values = {}
            for number, pulses in enumerate(self.pulses):
                values[COUNTER_BASE + 2 * number] = pulses >> 16
                values[COUNTER_BASE + 2 * number + 1] = pulses & 0xFFFF
        else:
            values = {PULSE_BASE + number: 0 for number in range(len(self._relays))}
        return pick(values, address, count)

    def write(self, table: Table, address: int, values: list[int]) -> None:
        """Switch relays, for good (coils) or for a time (holding registers)."""
        now = self._clock.now_ms()
        for offset, value in enumerate(values):
            number = address + offset - (PULSE_BASE if table == "holding" else 0)
            if table not in ("coil", "holding") or not 0 <= number < len(self._relays):
                raise ModbusError(ILLEGAL_ADDRESS)
            self._relays[number] = bool(value)
            self._off_at.pop(number, None)
            if table == "holding" and value:
                self._off_at[number] = now + value * 100
            self.switched.append((now, number, bool(value)))
