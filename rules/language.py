"""The rule language: YAML files to checked rules, with line and column of every fault.

A file holds ``version: 1``, ``rules`` and, if wanted, ``params`` (numbers, texts and truth
values for conditions, as ``params.name``) and ``words`` (how values read in both languages).
docs/rules.md describes every key.
"""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from rules.model import Problem, Rule, RuleError, RuleSet, Wording
from rules.reader import Reader, YamlNode
from rules.rulefile import FileScope, read_rule, read_wording

_MAX_RULES = 1_000


def check(text: str, source: str) -> list[Problem]:
    """Return what is wrong with one rule file; an empty list means that it can be used."""
    return _read(text, source)[1]


def load(texts: Mapping[str, str]) -> RuleSet:
    """Return the rules of several files (name to text); raise :class:`RuleError` with all faults.

    Ids are unique over all files.
    """
    problems: list[Problem] = []
    rules: dict[str, Rule] = {}
    for source, text in texts.items():
        found, wrong = _read(text, source)
        problems.extend(wrong)
        for rule in found:
            if (other := rules.get(rule.id)) is not None:
                message = f"the id {rule.id!r} is already used in {other.source}:{other.line}"
                problems.append(Problem(source, rule.line, 1, message))
            else:
                rules[rule.id] = rule
    if problems:
        raise RuleError(problems)
    return RuleSet(tuple(rules.values()))


def _read(text: str, source: str) -> tuple[list[Rule], list[Problem]]:
    reader = Reader(source)
    root = reader.document(text)
    if root is None:
        if not reader.problems:
            reader.complain(None, "the file is empty", "it needs version: 1 and rules:")
        return [], reader.problems
    found = reader.mapping(root, ("version", "rules", "params", "words"), "a rule file")
    if found is None:
        return [], reader.problems
    _check_version(reader, root, found.get("version"))
    scope = FileScope(_params(reader, found.get("params")), _words(reader, found.get("words")))
    rules: dict[str, Rule] = {}
    for node in _rule_nodes(reader, root, found.get("rules")):
        rule = read_rule(reader, node, scope)
        if rule is not None and rule.id in rules:
            reader.complain(node, f"the id {rule.id!r} is already used in this file")
        elif rule is not None:
            rules[rule.id] = rule
    return list(rules.values()), sorted(reader.problems, key=lambda p: (p.line, p.column))


def _check_version(reader: Reader, root: YamlNode, node: YamlNode | None) -> None:
    if node is None:
        reader.complain(root, "version is missing", "write version: 1")
    elif not isinstance(node, yaml.ScalarNode) or node.value != "1":
        reader.complain(node, "this version is not known", "write version: 1")


def _rule_nodes(reader: Reader, root: YamlNode, node: YamlNode | None) -> list[YamlNode]:
    if node is None:
        reader.complain(root, "rules is missing", "write rules: and a list")
        return []
    if not isinstance(node, yaml.SequenceNode):
        reader.complain(node, "rules must be a list")
        return []
    if len(node.value) > _MAX_RULES:
        reader.complain(node, f"a file holds at most {_MAX_RULES} rules")
        return []
    return list(node.value)


def _params(reader: Reader, node: YamlNode | None) -> dict[str, float | str | bool]:
    if node is None:
        return {}
    params: dict[str, float | str | bool] = {}
    for name, value in (reader.mapping(node, None, "params") or {}).items():
        if not name.isidentifier():
            reader.complain(value, f"{name!r} is not a usable name")
        elif (literal := reader.literal(value, f"params.{name}")) is not None:
            params[name] = literal
    return params


def _words(reader: Reader, node: YamlNode | None) -> dict[str, Wording]:
    if node is None:
        return {}
    words: dict[str, Wording] = {}
    for name, value in (reader.mapping(node, None, "words") or {}).items():
        wording = read_wording(reader, value, f"words.{name}", most=60)
        if wording is not None:
            words[name] = wording
    return words
