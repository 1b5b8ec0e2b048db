"""What the console copies from the contracts is what the contracts say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from core.contracts.colours import TOKENS
from core.contracts.events import KINDS
from core.contracts.topology import DeviceFamily, Level, SiteKind
from scripts import web_tokens

WEB = Path(__file__).parents[2] / "web"
VOCABULARY = json.loads((WEB / "src/i18n/vocabulary.json").read_text(encoding="utf-8"))
#: Numbers of batches and their like, which the console does not show by name.
UNSHOWN = {"first_seq", "last_seq"}


def literals(annotation: Any) -> set[str]:
    if get_origin(annotation) is Literal:
        return {value for value in get_args(annotation) if isinstance(value, str)}
    return (
        set().union(*(literals(part) for part in get_args(annotation)))
        if get_args(annotation)
        else set()
    )


def test_the_colour_tokens_are_current() -> None:
    assert web_tokens.TARGET.read_text(encoding="utf-8") == web_tokens.render()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_the_styles_use_the_tokens(theme: str) -> None:
    css = (WEB / "src/styles/tokens.css").read_text(encoding="utf-8")
    block = css[css.index(f'[data-theme="{theme}"]') :].split("}", 1)[0]
    for colour, token in TOKENS.items():
        found = re.search(rf"--{colour.value}: (#[0-9a-f]{{6}});", block)
        assert found is not None
        assert found[1] == getattr(token, theme)


def test_every_word_of_the_vocabulary_is_known_in_both_languages() -> None:
    fields: set[str] = set()
    values: set[str] = set()
    for spec in KINDS.values():
        for name, field in spec.data.model_fields.items():
            fields.add(name)
            values |= literals(field.annotation)
    wanted = {
        "kinds": set(KINDS),
        "fields": fields - UNSHOWN,
        "values": values,
        "families": {family.value for family in DeviceFamily},
        "levels": {level.value for level in Level},
        "siteKinds": {kind.value for kind in SiteKind},
    }
    missing = {group: sorted(words - set(VOCABULARY[group])) for group, words in wanted.items()}
    assert not any(missing.values()), missing


def test_every_word_has_two_languages() -> None:
    for group in VOCABULARY.values():
        for key, words in group.items():
            assert len(words) == 2, key
            assert all(words), key
            assert re.search(r"[一-鿿]", words[0]), key


def test_the_lock_file_names_no_registry() -> None:
    assert '"resolved": "http' not in (WEB / "package-lock.json").read_text(encoding="utf-8")
