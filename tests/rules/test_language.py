"""Rule files: every fault is told with its line and column and a remedy."""

from __future__ import annotations

import string
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.contracts.codec import make_event
from rules.builtin import builtin
from rules.expression.checking import check_condition
from rules.expression.compiling import compile_for
from rules.expression.syntax import (
    MAX_DEPTH,
    Call,
    ExpressionError,
    Literal,
    Name,
    Node,
    parse,
)
from rules.expression.types import FIELD_TYPES, Scope
from rules.language import check, load
from rules.model import RuleError
from tests.rules.script import rule

HEAD = """version: 1
rules:
  - id: r
    title: {zh: 题, en: Title}
    advice: {zh: 做, en: Do}
"""


def faults(body: str) -> list[tuple[int, int, str]]:
    text = HEAD + "".join(f"    {line}\n" for line in body.strip().splitlines())
    return [(p.line, p.column, f"{p.message}; {p.remedy}") for p in check(text, "f.yaml")]


def fault(body: str) -> tuple[int, int, str]:
    (only,) = faults(body)
    return only


def test_the_built_in_rules_are_without_fault() -> None:
    texts = builtin()
    assert [str(p) for name, text in texts.items() for p in check(text, name)] == []
    rules = load(texts).rules
    assert len(rules) >= 12
    assert {r.colour.value for r in rules} == {"blue", "yellow", "orange", "red"}
    assert {len(r.id) > 0 and bool(r.advice.zh) and bool(r.advice.en) for r in rules} == {True}


@pytest.mark.parametrize(
    ("body", "line", "column", "says"),
    [
        ("on: meter.reading\nwhen: powr_w > 1\ncolour: red", 7, 11, "did you mean 'power_w'?"),
        ("on: meter.reading\nwhen: 'medium == \"electricty\"'\ncolour: red", 7, 22, "'electricity'"),  # noqa: E501
        ("on: meter.readin\nwhen: 1 > 2\ncolour: red", 6, 9, "'meter.reading'"),
        ("on: meter.reading\nwhen: power_w >\ncolour: red", 7, 20, "expected a value"),
        ("on: meter.reading\nwhen: power_w\ncolour: red", 7, 11, "must be true or false"),
        ("on: meter.reading\nwhen: power_w = 3\ncolour: red", 7, 19, "compare with =="),
        ("on: meter.reading\nwhen: 1 < power_w < 3\ncolour: red", 7, 23, "between"),
        ("on: meter.reading\nwhen: relay_closed > 3\ncolour: red", 7, 11, "needs a number"),
        ("on: meter.reading\nwhen: medium == 3\ncolour: red", 7, 18, "cannot equal"),
        ("on: meter.reading\nwhen: pow(power_w) > 1\ncolour: red", 7, 11, "unknown function"),
        ("on: meter.reading\nwhen: power_w > params.x\ncolour: red", 7, 21, "unknown field"),
        ("on: meter.reading\nwhen: power_w > 3kW\ncolour: red", 7, 21, "not a number"),
        ("on: access.forced\ncolour: orange", 3, 5, "never says that it is over"),
        ("on: camera.tamper\ncolour: yellow", 3, 5, "never be over"),
        ("on: camera.tamper\nwhen: active\ncolour: green", 8, 13, "'green' is not a colour"),
        ("on: camera.tamper\nwhen: active", 3, 5, "no colour"),
        ("on: camera.tamper\nwhen: active\nfor: 3s\ncolour: red", 8, 10, "type: sustained"),
        ("on: camera.tamper\ntype: sustained\nfor: soon\nwhen: active\ncolour: red", 8, 10, "30s"),
        ("on: any\ntype: absent\ncolour: blue", 3, 5, "within or intervals"),
        ("on: camera.tamper\nwhen: active\ncolor: red\ncolour: red", 8, 5, "did you mean 'colour'?"),  # noqa: E501
        ("on: camera.tamper\nwhen: active\ncolour: red\nkey: [device, zone_id]", 9, 19, "'zone'"),
        ("on: camera.tamper\nwhen: active\ncolour: red\nfamilies: lift", 9, 15, "known are"),
        ("on: [edge.offline, access.forced]\ncolour: red\nclear: {after: 1m}", 6, 9, "do not mix"),
        ("on: device.snapshot\nwhen: true\ncolour: red", 6, 9, "holds states"),
        ("on: access.denied\ntype: count\nwindow: 2m\ncolour: red", 3, 5, "count is missing"),
    ],
)  # fmt: skip
def test_a_fault_is_told_where_it_is(body: str, line: int, column: int, says: str) -> None:
    assert (fault(body)[0], fault(body)[1]) == (line, column)
    assert says in fault(body)[2]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "the file is empty"),
        ("rules: []", "version is missing"),
        ("version: 2\nrules: []", "version: 1"),
        ("version: 1\nrules: {}", "must be a list"),
        ("version: 1\nrule: []", "did you mean 'rules'?"),
        ("version: 1\nrules: [", "not readable as YAML"),
        ("version: 1\nrules: &a [*a]", "aliases"),
        ("version: 1\nrules: !!python/object:os.system [x]", "a rule must be a mapping"),
        ("[" * 500, "nested too deeply"),
        ("version: 1\nrules:\n  - id: a b\n", "not a usable id"),
        ("version: 1\nversion: 1\nrules: []", "stands twice"),
        ("\x00", "not readable as YAML"),
    ],
)
def test_files_that_cannot_be_used(text: str, says: str) -> None:
    assert any(says in str(problem) for problem in check(text, "f.yaml"))


def test_texts_need_both_languages_and_known_placeholders() -> None:
    text = HEAD.replace("{zh: 题, en: Title}", '{en: "Title {devcie}"}')
    found = [
        str(p) for p in check(text + "    on: fire.alarm\n    when: active\n    colour: red\n", "f")
    ]
    assert len(found) == 1
    assert "lacks zh" in found[0]
    text = HEAD.replace("Title", '"{devcie}"')
    (only,) = check(text + "    on: fire.alarm\n    when: active\n    colour: red\n", "f")
    assert "did you mean 'device'?" in str(only)


def test_an_id_is_used_once_over_all_files() -> None:
    one = rule("on: fire.alarm\nwhen: active\ncolour: red")
    with pytest.raises(RuleError) as refused:
        load(one | {"other.yaml": one["r.yaml"]})
    assert str(refused.value).startswith("other.yaml:3:1: the id 'r' is already used in r.yaml:3")


SCOPE = Scope(("meter.reading",), {"factor": 1.5})
READING = make_event(
    "meter.reading", device="m", at=1, seen=1,
    data={"medium": "water", "power_w": 300.0, "voltage_l1_v": 220.0, "relay_closed": False},
)  # fmt: skip


class Knows:
    id = "m"
    limits: ClassVar = {"power_w": 200.0}
    facts: ClassVar = {"device.family": "meter", "site.kind": None}


def value(text: str) -> object:
    node = parse(text)
    check_condition(node, SCOPE)
    return compile_for(node, "meter.reading", SCOPE.params)(READING.data, Knows)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("power_w > device.limits.power_w * params.factor", False),
        ("data.power_w >= device.limits.power_w * params.factor", True),
        ("not relay_closed", True),
        ("current_l1_a > 1", None),
        ("current_l1_a > 1 and relay_closed", False),
        ("current_l1_a > 1 or not relay_closed", True),
        ("current_l1_a > 1 or relay_closed", None),
        ("not (current_l1_a > 1)", None),
        ("power_w / 0 > 1", None),
        ("power_w > device.limits.none", None),
        ("max(voltage_l1_v, voltage_l2_v) == 220", True),
        ("min(voltage_l2_v, voltage_l3_v) == 220", None),
        ("max(voltage_l1_v + 0, 1) == 220", True),
        ("between(power_w, 299.5, 300)", True),
        ("abs(-power_w) == 3_00", True),
        ('medium in ["water", "gas"]', True),
        ("medium not in ['water']", False),
        ("known(power_w) and not known(current_l1_a)", True),
        ("site.kind == 'office_building'", None),
        ("device.family == 'meter'", True),
        ("known(params.factor)", True),
        ("device.id == 'm'", True),
        ("1 + 2 * 3 - -1 == 8", True),
        ("2 - 1 - 1 == 0 and 8 / 4 / 2 == 1", True),
        ("true and not false or false", True),
    ],
)
def test_values_are_true_false_or_unknown(text: str, expected: bool | None) -> None:
    assert value(text) is expected


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("medium == 'water'", False),
        ("medium == 'gas'", None),
        ("current_l1_a > 1", None),
        ("power_w > 1 and known(device.limits.power_w)", False),
        ("true", False),
        ("false", None),
    ],
)
def test_a_condition_is_looked_at_where_it_concerns(where: str, expected: bool | None) -> None:
    node = parse("power_w > device.limits.power_w * params.factor")
    found = compile_for(node, "meter.reading", SCOPE.params, parse(where))
    assert found(READING.data, Knows) is expected


def meaning(node: Node, fields: set[str]) -> Any:
    """Kleene's logic by its definition, as the grammar's page states it."""
    if isinstance(node, Literal):
        return node.value
    if isinstance(node, Name):
        path = node.path.removeprefix("data.")
        return getattr(READING.data, path) if path in fields else None
    if isinstance(node, Call):
        values = [meaning(item, fields) for item in node.arguments]
        if node.function == "known":
            return values[0] is not None
        if node.function == "between":
            return None if None in values else values[1] <= values[0] <= values[2]
        return (min if node.function == "min" else max)(
            (value for value in values if value is not None), default=None
        )
    values = [meaning(item, fields) for item in node.operands]
    if node.operator == "and":
        return False if False in values else None if None in values else True
    if node.operator == "or":
        return True if True in values else None if None in values else False
    if node.operator == "not":
        return None if values[0] is None else not values[0]
    return None if None in values else values[0] > values[1]


NUMBERS = st.sampled_from(
    ["power_w", "voltage_l1_v", "current_l1_a", "code", "1", "250", "max(power_w, current_l1_a)",
     "min(code, 7)", "max(code, current_l1_a)"]
)  # fmt: skip
ATOMS = st.one_of(
    st.builds("{} > {}".format, NUMBERS, NUMBERS),
    st.builds("between({}, {}, {})".format, NUMBERS, NUMBERS, NUMBERS),
    st.sampled_from(["relay_closed", "known(code)", "known(power_w)", "known(current_l1_a)",
                     "true", "false"]),
)  # fmt: skip
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds("not ({})".format, inner),
        st.lists(inner, min_size=2, max_size=3).map(lambda some: "(" + ") and (".join(some) + ")"),
        st.lists(inner, min_size=2, max_size=3).map(lambda some: "(" + ") or (".join(some) + ")"),
    ),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(CONDITIONS)
def test_what_a_kind_settles_by_itself_changes_no_value(text: str) -> None:
    """``code`` is a field of the other kind: unknown in each reading, and settled beforehand."""
    try:
        node = parse(text)
    except ExpressionError:
        return  # deeper than allowed
    found = compile_for(node, "meter.reading", {})(READING.data, Knows)
    assert found is meaning(node, set(FIELD_TYPES["meter.reading"]))


def test_limits_hold() -> None:
    parse(" or ".join(["power_w > 1"] * 49))
    with pytest.raises(ExpressionError, match="nodes"):
        parse(" or ".join(["power_w > 1"] * 80))
    with pytest.raises(ExpressionError, match="levels deep"):
        parse("1" + " + 1" * MAX_DEPTH + " > 0")
    for text in ("(" * 5_000, "not " * 3_000 + "true", "-" * 3_999 + "1", "abs(" * 900):
        with pytest.raises(ExpressionError):
            parse(text)


def test_nothing_of_python_is_reachable() -> None:
    for text in ("__import__('os')", "power_w.__class__ == 1", "eval('1') == 1", "[x for x in y]",
                 "lambda: 1", "power_w ** 9 > 1", "f'{power_w}' == ''", "(power_w := 1) > 0"):  # fmt: skip  # noqa: E501
        with pytest.raises(ExpressionError):
            check_condition(parse(text), SCOPE)


WORDS = ["power_w", "medium", "relay_closed", "and", "or", "not", "in", "(", ")", "[", "]", ",", "<",  # noqa: E501
         "==", "+", "-", "*", "/", "1", "0", "1e", "'water'", '"', "min", "known", "params.factor",
         "device.limits.x", "true", "é", "."]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join), st.text(max_size=80)))
def test_any_text_is_refused_or_evaluates(text: str) -> None:
    offset, found = 0, None
    try:
        found = value(text)
    except ExpressionError as refused:
        offset = refused.offset
    assert found in (True, False, None)
    assert 0 <= offset <= max(len(text), 1)


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet=string.printable + "规则", max_size=200), st.integers(0, 2_000))
def test_any_file_is_checked_without_a_crash(noise: str, where: int) -> None:
    whole = next(iter(builtin().values()))
    for text in (noise, whole[:where] + noise + whole[where:]):
        for problem in check(text, "f.yaml"):
            assert problem.line >= 1
            assert problem.column >= 1
