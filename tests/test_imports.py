"""Who may import whom, read from the syntax tree; and importing has no effect.

The table is the one of docs/architecture.md. A package that is missing from it may be imported
by nobody.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PURE = frozenset({"pydantic", "msgspec", "annotated_types"})
#: For each part the parts it may import besides itself.
TABLE: dict[str, frozenset[str]] = {
    "core.contracts": frozenset(),
    "core.runtime": frozenset({"core.contracts"}),
    "core.storage": frozenset({"core.contracts", "core.runtime"}),
    "rules": frozenset({"core.contracts"}),
    "edge": frozenset({"core", "rules"}),
    "collector": frozenset({"core", "rules"}),
    "worker": frozenset({"core", "rules", "governance"}),
    "dashboard_api": frozenset({"core", "rules", "governance"}),
    "simulators": frozenset({"core"}),
    "estate": frozenset(
        {
            "core",
            "rules",
            "governance",
            "edge",
            "collector",
            "worker",
            "dashboard_api",
            "simulators",
        }
    ),
}
PACKAGES = frozenset({part.split(".")[0] for part in TABLE} | {"governance"})
#: What of other people's packages the pure parts may use.
THIRD_PARTY = {"core.contracts": PURE, "rules": PURE | {"yaml"}}
#: What the pure parts may not even take from the standard library: they read no clock, draw no
#: dice and reach nothing outside.
IMPURE = frozenset(
    {"asyncio", "multiprocessing", "queue", "random", "secrets", "select", "selectors", "signal",
     "socket", "sqlite3", "ssl", "subprocess", "tempfile", "threading", "time", "urllib"}
)  # fmt: skip


@dataclass(frozen=True)
class Import:
    """One imported module name and where it stands."""

    file: Path
    line: int
    name: str

    @property
    def importer(self) -> str:
        return module_name(self.file)

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}: {self.name}"


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def python_files() -> list[Path]:
    return sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def imports_of(file: Path) -> Iterator[Import]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(file, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module_name(file).split(".")
                package = package if file.name == "__init__.py" else package[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *base.split(".")])
            for alias in node.names:  # "from core import storage" means core.storage
                yield Import(file, node.lineno, f"{base}.{alias.name}".strip("."))


ALL = [found for file in python_files() for found in imports_of(file)]


def within(name: str, part: str) -> bool:
    return name == part or name.startswith(part + ".")


def part_of(name: str) -> str | None:
    return next((part for part in TABLE if within(name, part)), None)


def test_the_table_is_about_what_is_there() -> None:
    assert len(ALL) > 100
    for package in PACKAGES - {"governance"}:
        assert (ROOT / package).is_dir(), package
    assert {part_of(module_name(file)) for file in python_files()} - {None} == set(TABLE)


def test_every_part_imports_only_what_the_table_allows() -> None:
    wrong = []
    for found in ALL:
        if found.name.split(".")[0] not in PACKAGES or found.name == "core":
            continue
        importer = part_of(found.importer)
        if found.importer == "core":
            wrong.append(str(found))
            continue
        assert importer is not None, f"{found.importer} is in no part of the table"
        allowed = TABLE[importer] | {importer}
        if not any(within(found.name, part) for part in allowed):
            wrong.append(str(found))
    assert wrong == []


@pytest.mark.parametrize("part", sorted(THIRD_PARTY))
def test_the_pure_parts_stay_pure(part: str) -> None:
    wrong = [
        str(found)
        for found in ALL
        if within(found.importer, part)
        and (top := found.name.split(".")[0]) not in PACKAGES | THIRD_PARTY[part]
        and (top not in sys.stdlib_module_names or top in IMPURE)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "homes"),
    [
        ("paho", ("core.runtime.link",)),
        ("sqlite3", ("core.storage.sqlite",)),
        ("pysqlite3", ("core.storage", "estate")),
        ("influxdb_client", ("core.storage.series",)),
        ("alembic", ("core.storage.records",)),
        ("fastapi", ("dashboard_api",)),
        ("cv2", ("edge", "simulators", "core.storage")),
        ("pymodbus", ("edge.modbus",)),
        ("bacpypes3", ("edge.drivers.bacnet", "simulators.devices")),
        ("jmespath", ("edge.mapping",)),
        ("dlt645", ("edge.drivers", "simulators")),
        ("cryptography", ("estate.broker_config", "estate.doctor")),
    ],
)
def test_a_library_is_known_in_few_places(module: str, homes: tuple[str, ...]) -> None:
    wrong = [
        str(found)
        for found in ALL
        if within(found.name, module)
        and not any(found.importer == home or found.importer.startswith((home + ".", home + "_"))
                    for home in homes)
    ]  # fmt: skip
    assert wrong == []


WATCHED = """
import importlib, os, sys, traceback

FORBIDDEN = {
    "socket.__new__", "socket.bind", "socket.connect", "subprocess.Popen", "os.system", "os.mkdir",
    "os.remove", "os.rename", "os.fork", "os.exec", "os.posix_spawn", "_thread.start_new_thread",
    "sqlite3.connect", "shutil.rmtree", "os.truncate",
}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
seen = []

# urllib3 asks, when it is imported, whether this machine has IPv6, by binding a socket to ::1;
# ifaddr (of bacpypes3) asks ldconfig where the C library is.
ASKING = ("urllib3/util/connection.py", "ifaddr/_posix.py")

def watch(event, arguments):
    if event in FORBIDDEN or (event == "open" and isinstance(arguments[2], int)
                              and arguments[2] & WRITES and arguments[0] != "/dev/null"):
        stack = traceback.extract_stack()
        if any(f.filename.endswith(ASKING) for f in stack):
            return
        where = [f for f in stack if f.filename.startswith(sys.argv[1] + "/")
                 and "/.venv/" not in f.filename]
        seen.append(f"{event}{arguments!r:.120} at " + (str(where[-1:]) if where else module))

module = "start"
sys.addaudithook(watch)
for module in sys.argv[2:]:
    importlib.import_module(module)
import threading
others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
seen += [f"a thread runs: {thread.name}" for thread in others]
print("\\n".join(seen))
"""


def test_importing_opens_and_starts_nothing() -> None:
    #: Run by Alembic with a context of its own, and never imported.
    modules = [
        name
        for file in python_files()
        if (name := module_name(file)).split(".")[-1] not in {"__main__", "env"}
    ]
    command = [sys.executable, "-B", "-c", WATCHED, str(ROOT), *modules]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
