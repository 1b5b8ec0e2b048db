"""Node colours and coverage, kept up to date change by change.

A node's alert colour is the worst standing alert in its subtree. Green must be earned: below
the topology's minimum coverage (devices heard within their expected interval, of all devices
in the subtree) a node is grey, whatever its alerts, and so is a node without any device, for
it has nothing to earn green with. ``ColourOutput.alert_colour`` still tells what grey hides.
"""

from __future__ import annotations

from collections.abc import Iterable

from core.contracts.colours import Colour
from core.contracts.outputs import ColourOutput
from core.contracts.topology import Topology
from rules.subjects import own

_BY_RANK = (Colour.GREEN, Colour.BLUE, Colour.YELLOW, Colour.ORANGE, Colour.RED)


class _Shade:
    __slots__ = ("heard", "path", "published", "standing", "total")

    def __init__(self) -> None:
        self.standing = [0] * len(_BY_RANK)
        self.heard = 0
        self.total = 0
        self.path: tuple[str, ...] = ()
        self.published: tuple[Colour, Colour, int, int] | None = None


Published = tuple[str, str, str, int, int]
"""A node with what was last said of it: colour, alert colour, heard, total."""


class Colours:
    """The fold; ``flush`` says what changed since the last flush."""

    def __init__(self, topology: Topology | None = None) -> None:
        self._nodes: dict[str, _Shade] = {}
        self._changed: dict[str, None] = {}
        self._minimum = 0.0
        if topology is not None:
            self._build(topology)

    def _build(self, topology: Topology) -> None:
        self._minimum = topology.coverage_minimum * 1.0  # an object of its own, as the ids
        ids = {node.id: own(node.id) for node in topology.nodes}
        for node in topology.nodes:
            shade = self._nodes[ids[node.id]] = _Shade()
            shade.path = tuple(ids[above.id] for above in topology.ancestors(node.id))
        for device in topology.devices:
            for node_id in self._nodes[device.node].path:
                self._nodes[node_id].total += 1
        self._changed = dict.fromkeys(self._nodes)

    def _path(self, node: str) -> tuple[str, ...]:
        shade = self._nodes.get(node)
        return () if shade is None else shade.path

    def alert(self, node: str, colour: Colour, change: int) -> None:
        """Add (+1) or take away (-1) a standing alert of a node."""
        for node_id in self._path(node):
            self._nodes[node_id].standing[colour.rank] += change
            self._changed[node_id] = None

    def hear(self, node: str, change: int) -> None:
        """Count a device of a node as heard (+1) or not heard any more (-1)."""
        for node_id in self._path(node):
            self._nodes[node_id].heard += change
            self._changed[node_id] = None

    def flush(self, at: int) -> list[ColourOutput]:
        """Return the nodes whose colour or coverage is another than was last said."""
        outputs: list[ColourOutput] = []
        for node_id in self._changed:
            shade = self._nodes[node_id]
            now = self._of(shade)
            if now != shade.published:
                shade.published = now
                outputs.append(ColourOutput(node_id, at, *now))
        self._changed = {}
        return outputs

    def _of(self, shade: _Shade) -> tuple[Colour, Colour, int, int]:
        rank = next((r for r in range(len(_BY_RANK) - 1, 0, -1) if shade.standing[r]), 0)
        worst = _BY_RANK[rank]
        earned = shade.total > 0 and shade.heard >= self._minimum * shade.total
        return (worst if earned else Colour.GREY, worst, shade.heard, shade.total)

    def published(self) -> list[Published]:
        """Return what was last said of each node, for a snapshot or a new topology."""
        return [
            (node_id, *shade.published)
            for node_id, shade in self._nodes.items()
            if shade.published is not None
        ]

    def restore(self, published: Iterable[Published]) -> None:
        """Take over what was already said, so that only differences are said again."""
        for node_id, colour, alert_colour, heard, total in published:
            if (shade := self._nodes.get(node_id)) is not None:
                shade.published = (Colour(colour), Colour(alert_colour), heard, total)
