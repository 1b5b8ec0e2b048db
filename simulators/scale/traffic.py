"""The events of one site at their natural rates, encoded as they travel.

Meters read once a minute, each at its own second; lifts give their status each second; people
pass doors after the day's rhythm; cameras see motion and count; doors and cameras repeat their
health each minute, as their drivers do. Rare things happen, too: a door that is forced or held
open, a flat above its limit, a lift with a fault. Everything is a function of the seed.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from core.contracts.events import KINDS, Lane
from simulators.rhythms import RESIDENTIAL, hour_of_day
from simulators.scale.plan import SitePlan
from simulators.seeds import stream

#: Passages a second through one door where the day's rhythm is at its peak: 3,000 doors give
#: 200 events a second then, three events to a passage.
_PASSAGES = 200 / 3 / 3_000
_PEAK = max(RESIDENTIAL.workday)
#: A camera sees something begin to move so often (per second), and counts every minute.
_MOTIONS = 1 / 90
_HEALTH_S = 60
#: Rare events per device and second.
_FORCED, _HELD, _LIFT_FAULT = 1 / 5_000_000, 1 / 1_000_000, 1 / 2_000_000
_HELD_S, _FAULT_S = 90, 120

_METER = (
    b'{"kind":"meter.reading","device":"%b","at":%d,"seen":%d,"data":{"medium":"electricity",'
    b'"energy_kwh":%.2f,"voltage_l1_v":%.1f,"current_l1_a":%.3f,"power_w":%.1f,'
    b'"power_factor":%.3f,"frequency_hz":50.0,"relay_closed":true}}'
)
_LIFT = (
    b'{"kind":"elevator.status","device":"%b","at":%d,"seen":%d,"data":{"service_mode":"normal",'
    b'"moving":%b,"direction":"%b","in_door_zone":%b,"floor":%d,"door_closed":%b,"occupied":%b,'
    b'"load_kg":%d.0}}'
)
_PLAIN = b'{"kind":"%b","device":"%b","at":%d,"seen":%d,"data":{%b}}'
_TRUTH = (b"false", b"true")


@dataclass(slots=True)
class _Lift:
    device: bytes
    floors: int
    floor: int = 1
    target: int = 1
    pause: int = 0
    load: int = 0


@dataclass(slots=True)
class Interval:
    """What happened in an interval: encoded events by lane, and how many of each kind."""

    events: dict[Lane, list[bytes]]
    counts: Counter[str] = field(default_factory=Counter)


class SiteTraffic:
    """The events of one site, second by second of run time."""

    def __init__(self, plan: SitePlan, seed: int) -> None:
        self.plan = plan
        self._random: Random = stream(seed, plan.site, "traffic")
        random = self._random
        self._meters = sorted(
            (random.randrange(60_000), device.encode(), random.uniform(0.3, 2.5), random.random())
            for device in plan.meters
        )
        self._phases = [entry[0] for entry in self._meters]
        self._lifts = [_Lift(d.encode(), random.randint(6, 33)) for d in plan.lifts]
        self._doors = [device.encode() for device in plan.doors]
        self._cameras = [device.encode() for device in plan.cameras]
        #: run second -> what ends then (kind, device, data, lane).
        self._later: dict[int, list[tuple[str, bytes, bytes]]] = {}
        self._out = Interval({lane: [] for lane in Lane})

    def second(self, at: int) -> None:
        """Let the second that begins at ``at`` (ms) happen; collect with :meth:`take`."""
        self._read_meters(at)
        self._move_lifts(at)
        self._pass_doors(at)
        self._see(at)
        for kind, device, data in self._later.pop(at // 1000, ()):
            self._plain(kind, device, at, data)

    def take(self) -> Interval:
        """Return what has happened since the last call."""
        out, self._out = self._out, Interval({lane: [] for lane in Lane})
        return out

    # -- families ---------------------------------------------------------------------------

    def _read_meters(self, at: int) -> None:
        offset = at % 60_000
        first, last = bisect(self._phases, offset - 1), bisect(self._phases, offset + 999)
        if first == last:
            return
        hour = hour_of_day(at)
        level = 0.35 + RESIDENTIAL.at(at) / _PEAK
        volts = 224.0 - 6.0 * level
        days = at / 86_400_000
        out = self._out.events[Lane.READING]
        for phase, device, size, taste in self._meters[first:last]:
            moment = at - offset + phase
            power = 400.0 * size * level * (0.6 + 0.8 * ((taste * 97 + hour * 3) % 1.0))
            if taste > 0.9999:
                power += 9_000.0  # a heater on a lead: above the limit
            factor = 0.93 + 0.06 * taste
            out.append(
                _METER
                % (device, moment, moment, 1000 + (days - 20_000) * 9.6 * size, volts,
                   power / volts / factor, power, factor)
            )  # fmt: skip
        self._out.counts["meter.reading"] += last - first

    def _move_lifts(self, at: int) -> None:
        out, random = self._out.events[Lane.STATE], self._random
        busy = RESIDENTIAL.at(at) / _PEAK / 25
        for lift in self._lifts:
            if lift.floor != lift.target:
                lift.floor += 1 if lift.target > lift.floor else -1
                if lift.floor == lift.target:
                    lift.pause = 6
            elif lift.pause:
                lift.pause -= 1
                if not lift.pause:
                    lift.load = 0
            elif random.random() < busy:
                lift.target = random.randint(1, lift.floors)
                lift.load = 70 * random.randint(1, 4)
            moving = lift.floor != lift.target
            direction = b"none" if not moving else b"up" if lift.target > lift.floor else b"down"
            out.append(
                _LIFT
                % (lift.device, at, at, _TRUTH[moving], direction, _TRUTH[not moving], lift.floor,
                   _TRUTH[not 1 < lift.pause < 6], _TRUTH[lift.load > 0], lift.load)
            )  # fmt: skip
            if random.random() < _LIFT_FAULT:
                fault = b'"fault":"door_close","active":%b,"raw_code":"02","floor":%d'
                self._plain("elevator.fault", lift.device, at, fault % (b"true", lift.floor))
                self._at(at, _FAULT_S, "elevator.fault", lift.device,
                         fault % (b"false", lift.floor))  # fmt: skip
        self._out.counts["elevator.status"] += len(self._lifts)

    def _pass_doors(self, at: int) -> None:
        random, doors = self._random, self._doors
        second = at // 1000
        rate = len(doors) * _PASSAGES * RESIDENTIAL.at(at) / _PEAK
        for _ in range(_poisson(random, rate)):
            door = random.choice(doors)
            person = b'"person":"p-%08x","credential":"face","direction":"%b"' % (
                random.getrandbits(32), b"in" if random.random() < 0.5 else b"out",
            )  # fmt: skip
            if random.random() < 0.02:
                self._plain("access.denied", door, at, person + b',"reason":"no_permission"')
                continue
            self._plain("access.granted", door, at, person)
            self._plain("access.door", door, at + 300, b'"open":true')
            self._at(at, 4, "access.door", door, b'"open":false')
        if random.random() < len(doors) * _FORCED:
            self._plain("access.forced", random.choice(doors), at, b"")
        if random.random() < len(doors) * _HELD:
            door = random.choice(doors)
            self._plain("access.held_open", door, at, b'"open_s":60.0')
            self._at(at, _HELD_S, "access.door", door, b'"open":false')
        self._repeat_health(doors, at, second)

    def _see(self, at: int) -> None:
        random, cameras = self._random, self._cameras
        for _ in range(_poisson(random, len(cameras) * _MOTIONS)):
            camera = random.choice(cameras)
            score = b'"active":%b,"score":%.2f'
            self._plain("camera.motion", camera, at, score % (b"true", random.random()))
            self._at(at, random.randint(3, 30), "camera.motion", camera, score % (b"false", 0.0))
        self._repeat_health(cameras, at, at // 1000)
        counting = cameras[at // 1000 % 600 :: 600]
        for camera in counting:
            count = b'"count":%d,"zone":"lobby","target":"person"' % random.randint(0, 6)
            self._plain("camera.count", camera, at, count)

    def _repeat_health(self, devices: list[bytes], at: int, second: int) -> None:
        for device in devices[second % _HEALTH_S :: _HEALTH_S]:
            self._plain("device.health", device, at, b'"online":true,"error_rate":0.0')

    # -- writing down -----------------------------------------------------------------------

    def _plain(self, kind: str, device: bytes, at: int, data: bytes) -> None:
        self._out.events[KINDS[kind].lane].append(_PLAIN % (kind.encode(), device, at, at, data))
        self._out.counts[kind] += 1

    def _at(self, at: int, delay_s: int, kind: str, device: bytes, data: bytes) -> None:
        self._later.setdefault(at // 1000 + delay_s, []).append((kind, device, data))


def _poisson(random: Random, mean: float) -> int:
    """Draw from a Poisson distribution of a small mean (Knuth)."""
    limit, count, product = 2.718281828459045**-mean, 0, random.random()
    while product > limit:
        count += 1
        product *= random.random()
    return count
