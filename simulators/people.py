"""Invented residents, as the credential lists of the door controllers hold them."""

from __future__ import annotations

from simulators.devices.isapi import Holder
from simulators.seeds import stream

_SURNAMES = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰建国志文雨欣子涵浩宇梓萱一诺"
HOLDERS = 240


def holders(seed: int) -> tuple[Holder, ...]:
    """Return the credential holders of the community."""
    random = stream(seed, "people")
    people = []
    for index in range(HOLDERS):
        given = "".join(random.sample(_GIVEN, random.choice((1, 2, 2))))
        card = str(random.randrange(10**9, 4 * 10**9))
        people.append(Holder(str(10_001 + index), random.choice(_SURNAMES) + given, card))
    return tuple(people)
