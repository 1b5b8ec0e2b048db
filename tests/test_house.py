"""House rules that a reader would otherwise have to check by eye."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = ["core", "rules", "edge", "collector", "worker", "dashboard_api", "simulators", "estate"]
#: A module over about 400 lines is asking to be two.
LONGEST = 420


def tracked() -> list[Path]:
    """Return the files of the checkout that git knows."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def texts() -> list[tuple[str, str]]:
    """Return (name, text) of every tracked text file."""
    found = []
    for path in tracked():
        data = path.read_bytes()
        if b"\0" not in data:
            found.append((str(path.relative_to(ROOT)), data.decode("utf-8")))
    return found


TEXTS = texts()


def offending(pattern: str, *, within: str = "") -> list[str]:
    """Return name:line of every match, but not of this file's own patterns."""
    found = []
    for name, text in TEXTS:
        if name == "tests/test_house.py" or not re.search(within, name):
            continue
        found += [
            f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0][:80]}"
            for match in re.finditer(pattern, text, re.MULTILINE)
        ]
    return found


def test_no_download_address_is_written_down() -> None:
    assert offending(r'"resolved"\s*:', within=r"package-lock\.json$") == []
    assert offending(r"(--(extra-)?index-url|--find-links)\b") == []
    assert offending(r"https?://", within=r"^requirements/") == []
    hosts = (
        r"\b(files\.pythonhosted|pypi\.(org|io)|registry\.(npmjs|yarnpkg)|npmmirror|tuna\.tsing)"
    )
    assert offending(hosts) == []


def test_no_path_of_somebodys_machine_is_written_down() -> None:
    assert offending(r"(?<![\w.*])/(root|work|Users|home)/[\w.]") == []


def test_nothing_is_left_to_do() -> None:
    assert offending(r"\b(TODO|FIXME|XXX|HACK)\b", within=r"\.(py|ts|vue|css|sh|toml)$") == []


def test_files_end_in_one_newline_and_use_unix_lines() -> None:
    wrong = [n for n, t in TEXTS if t and (not t.endswith("\n") or "\r" in t) and "golden" not in n]
    assert [name for name in wrong if not name.endswith((".svg", ".json"))] == []


def test_modules_are_short() -> None:
    long = {
        name: lines
        for name, text in TEXTS
        if name.endswith((".py", ".ts", ".vue"))
        and not name.startswith("tests/")
        and ".d.ts" not in name
        and (lines := text.count("\n")) > LONGEST
    }
    assert long == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()
    assert package in PROJECT["tool"]["mypy"]["packages"]


def pins(name: str) -> dict[str, Version]:
    """Return the pinned version of every package in a lock file."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", text.strip())
    found = {}
    for entry in entries:
        head = re.match(r"([A-Za-z0-9._-]+)(\[.*\])?==([^\s;]+)", entry)
        assert head, entry[:80]
        assert "--hash=sha256:" in entry, f"{head[1]} has no hash"
        found[head[1].lower()] = Version(head[3])
    return found


@pytest.mark.parametrize(
    ("name", "extras"), [("run.txt", ["build"]), ("dev.txt", ["build", "dev"])]
)
def test_the_locks_hold_what_the_project_asks_for(name: str, extras: list[str]) -> None:
    locked = pins(name)
    wanted = [*PROJECT["project"]["dependencies"]]
    for extra in extras:
        wanted += PROJECT["project"]["optional-dependencies"][extra]
    for text in wanted:
        requirement = Requirement(text)
        version = locked.get(requirement.name.lower())
        assert version is not None, f"{requirement.name}: run `make lock`"
        assert requirement.specifier.contains(version), f"{requirement} is locked as {version}"


def test_the_locks_agree() -> None:
    run, dev = pins("run.txt"), pins("dev.txt")
    assert {name: dev.get(name) for name in run} == run


def made_late(tree: ast.Module) -> list[int]:
    """Return the lines where msgspec may meet a struct first in a running thread."""
    found = []
    top = {id(node) for part in tree.body if not is_def(part) for node in ast.walk(part)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        shape = [ast.unparse(arg) for arg in node.args[1:2]]
        shape += [ast.unparse(word.value) for word in node.keywords if word.arg == "type"]
        if (
            (called.startswith("msgspec.") and called.endswith(".Decoder") and id(node) not in top)
            or (re.fullmatch(r"(msgspec\.)?(json|msgpack)\.decode", called) and shape)
            or (called == "msgspec.convert" and not all(each.endswith(".type") for each in shape))
        ):
            found.append(node.lineno)
    return found


def is_def(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)


def test_decoders_are_made_when_their_module_is_loaded() -> None:
    """msgspec 0.22 works a struct's fields out at the first decoder for it.

    Meanwhile another thread that decodes it reads what is not there yet: the process dies of a
    segmentation fault. ``msgspec.convert`` is given the type of such a decoder.
    """
    late = [
        f"{name}:{line}"
        for name, text in TEXTS
        if name.split("/")[0] in PACKAGES and name.endswith(".py")
        for line in made_late(ast.parse(text))
    ]
    assert late == []


@pytest.mark.parametrize(
    "code",
    [
        "def f(x): return msgspec.json.Decoder(A).decode(x)",
        "def f(x): return msgspec.json.decode(x, type=A)",
        "def f(x): return msgspec.convert(x, A)",
    ],
)
def test_a_decoder_that_is_made_late_is_found(code: str) -> None:
    assert made_late(ast.parse(code)) == [1]
    assert made_late(ast.parse("D = msgspec.json.Decoder(A)\ndef f(x): return D.decode(x)")) == []


def test_links_in_the_documents_lead_somewhere() -> None:
    broken = [
        f"{name}: {target}"
        for name, text in TEXTS
        if name.endswith(".md")
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
        if not re.match(r"[a-z]+:", target) and not (ROOT / name).parent.joinpath(target).exists()
    ]
    assert broken == []
