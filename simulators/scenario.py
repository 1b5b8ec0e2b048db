"""Scenario files: YAML timelines of what happens to which device, checked whole when loaded."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.contracts.errors import ContractError, SettingsError
from simulators.actions import ACTIONS, EDGE, action, arguments
from simulators.durations import Duration
from simulators.installation import Community

FOLDER = Path(__file__).parent / "scenarios"
RULES = FOLDER / "rules"
#: ``<rule>/near-miss`` is what must not fire the rule.
NEAR_MISS = "near-miss"
_LIMIT_BYTES = 1_000_000


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


M = TypeVar("M", bound=_Model)


class Selector(_Model):
    """A choice of a target: a device of the action's family, below a node or at an edge.

    ``pick`` is ``first``, ``random`` (seeded, another one each round, none that is disturbed
    already), or a position from 1.
    """

    node: str | None = None
    edge: str | None = None
    like: str | None = None
    """A part of the device's id."""
    pick: Literal["first", "random"] | Annotated[int, Field(ge=1)] = "random"


class Step(_Model):
    """One line of the timeline. ``for`` ends it with the action's opposite."""

    at: Duration
    do: str
    target: str | Selector
    arguments: Annotated[dict[str, Any], Field(alias="with")] = {}
    lasts: Annotated[Duration | None, Field(alias="for")] = None
    rounds: Literal["all", "first", "later"] = "all"
    chance: Annotated[float, Field(gt=0, le=1)] = 1
    jitter: Duration = 0
    """The step comes up to so much later, seeded."""

    @model_validator(mode="after")
    def _fits_its_action(self) -> Step:
        try:
            chosen = action(self.do)
            arguments(chosen, self.arguments)
        except ContractError as error:
            raise ValueError(str(error)) from None
        if self.lasts is not None and chosen.undo is None:
            undoable = ", ".join(name for name, known in ACTIONS.items() if known.undo)
            raise ValueError(f"for: {self.do} has no opposite; these have one: {undoable}")
        return self


class Scenario(_Model):
    """A timeline; it starts again ``repeat_every`` after its start, if that is given."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    description: Annotated[str, Field(max_length=500)] = ""
    repeat_every: Annotated[Duration | None, Field(ge=10)] = None
    steps: list[Step] = []

    @model_validator(mode="after")
    def _steps_fit_a_round(self) -> Scenario:
        if self.repeat_every is not None:
            for index, step in enumerate(self.steps):
                if step.at + step.jitter >= self.repeat_every:
                    raise ValueError(f"steps.{index}.at: is not before repeat_every")
        elif late := [i for i, step in enumerate(self.steps) if step.rounds == "later"]:
            raise ValueError(f"steps.{late[0]}.rounds: there are no later rounds")
        return self


class Case(_Model):
    """What fires a rule (or nearly does), and for whom: a device, or an edge."""

    about: str
    why: Annotated[str, Field(max_length=300)] = ""
    steps: Annotated[list[Step], Field(min_length=1)]


class RuleScenario(_Model):
    """One built-in rule: what fires it, and a near miss that must not."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    """The rule's id."""
    fires: Case
    near_miss: Case

    def played(self, *, near_miss: bool = False) -> Scenario:
        """Return one of the two as a scenario."""
        case = self.near_miss if near_miss else self.fires
        name = f"{self.name}/{NEAR_MISS}" if near_miss else self.name
        return Scenario(name=name, description=case.why, steps=case.steps)


def names() -> list[str]:
    """Return the names of the stories that come with the system."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def rule_names() -> list[str]:
    """Return the rules that have a scenario of their own."""
    return sorted(path.stem for path in RULES.glob("*.yaml"))


def load_rule(rule: str) -> RuleScenario:
    """Read the scenario of a built-in rule; raise :class:`SettingsError` as :func:`load` does."""
    path = RULES / f"{rule}.yaml"
    return _checked(RuleScenario, _text(path), str(path))


def load(name_or_path: str | Path) -> Scenario:
    """Read a scenario by its name or path.

    Raises :class:`SettingsError` that gives for each mistake the file, the line of the step,
    the key, and the nearest known word.
    """
    path, name = Path(name_or_path), str(name_or_path)
    if path.suffix in (".yaml", ".yml"):
        return parse(_text(path), str(path))
    rule = name.removesuffix(f"/{NEAR_MISS}")
    if rule in rule_names():
        return load_rule(rule).played(near_miss=rule != name)
    if name not in names():
        near = difflib.get_close_matches(name, [*names(), *rule_names()], 1)
        hint = (
            f"did you mean {near[0]}?"
            if near
            else f"known are {', '.join(names())}, and the ids of the built-in rules"
        )
        raise SettingsError(f"unknown scenario {name!r}; {hint}")
    path = FOLDER / f"{name}.yaml"
    return parse(_text(path), str(path))


def parse(text: str, source: str = "scenario") -> Scenario:
    """Check a scenario's YAML text; raise :class:`SettingsError` as :func:`load` does."""
    return _checked(Scenario, text, source)


def _checked(model: type[M], text: str, source: str) -> M:
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise SettingsError(f"{source}: aliases are not allowed")
        raw = yaml.safe_load(text)
        lines = _step_lines(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise SettingsError(f"{source}: {error}") from None
    if not isinstance(raw, dict):
        raise SettingsError(f"{source}: expected a mapping with name and steps")
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise SettingsError("\n".join(_messages(error, source, lines, model))) from None


def check_targets(scenario: Scenario, community: Community) -> None:
    """Check that every target exists; raise :class:`SettingsError` that names each that does not.

    A selector must fit at least one device.
    """
    problems = []
    for index, step in enumerate(scenario.steps):
        known = candidates(step, community)
        if isinstance(step.target, Selector):
            if not known:
                problems.append(f"steps.{index}.target: nothing fits it")
        elif step.target not in known:
            near = difflib.get_close_matches(step.target, known, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            wanted = ACTIONS[step.do].target
            problems.append(f"steps.{index}.target: no {wanted} is called {step.target}{hint}")
    if problems:
        raise SettingsError("\n".join(f"scenario {scenario.name}: {text}" for text in problems))


def candidates(step: Step, community: Community) -> list[str]:
    """Return the ids that a step's action can be done to and, if it has one, its selector fits."""
    wanted = ACTIONS[step.do]
    if wanted.target == EDGE:
        return list(community.edges)
    able = {name for name, kind in community.handles.items() if wanted.fits(kind)}
    devices = [device for device in community.topology["devices"] if device["id"] in able]
    selector = step.target
    if not isinstance(selector, Selector):
        return [device["id"] for device in devices]
    parents = {node["id"]: node.get("parent") for node in community.topology["nodes"]}
    return [
        device["id"]
        for device in devices
        if (selector.edge is None or device["edge"] == selector.edge)
        and (selector.like is None or selector.like in device["id"])
        and (selector.node is None or selector.node in _upwards(device["node"], parents))
    ]


def _upwards(node: str | None, parents: dict[str, str | None]) -> Iterator[str]:
    while node is not None:
        yield node
        node = parents.get(node)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            raise SettingsError(f"{path}: is larger than a scenario can be")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path}: there is no such file") from None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 text at byte {error.start}") from None


def _step_lines(text: str) -> list[int]:
    """Return the line on which each step begins."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return []
    for key, value in root.value:
        if key.value == "steps" and isinstance(value, yaml.SequenceNode):
            return [item.start_mark.line + 1 for item in value.value]
    return []


def _messages(
    error: ValidationError, source: str, lines: list[int], whole: type[_Model]
) -> Iterator[str]:
    for item in error.errors(include_url=False):
        where = [part for part in item["loc"] if part not in ("str", "Selector")]
        in_step = len(where) >= 2 and where[0] == "steps" and isinstance(where[1], int)
        line = f":{lines[int(where[1])]}" if in_step and int(where[1]) < len(lines) else ""
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            model: type[_Model] = Step if "steps" in where[:-1] else whole
            if "target" in where[:-1]:
                model = Selector
            elif where[0] in ("fires", "near_miss") and "steps" not in where[:-1]:
                model = Case
            known = [f.alias or name for name, f in model.model_fields.items()]
            near = difflib.get_close_matches(str(where[-1]), known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            message = f"unknown key; {hint}"
        path = ".".join(str(part) for part in where)
        yield f"{source}{line}: {path + ': ' if path else ''}{message}"
