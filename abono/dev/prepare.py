"""Prepares the virtual environment: uv, then the locked dependencies. Run by the Makefile.

    python3 abono/dev/prepare.py STAMP_FILE

Runs on the machine's own Python, before anything is installed: standard library only, and
nothing that an older Python could not at least read, so that it gets a clear message.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PYTHON_MIN = (3, 11)
UV_VERSION = "0.13.9"
UV_MIN = (0, 9)  # Older ones were never tried with this lock file.
TOOLS = Path(".tools")
ENVIRONMENT = Path(".venv")


def main(stamp: Path) -> int:
    if sys.version_info[:2] < PYTHON_MIN:
        have = ".".join(str(part) for part in sys.version_info[:3])
        return fail(
            f"Abono needs Python 3.11 or newer; this is {have} ({sys.executable}).",
            "Install one, or name it: make PYTHON=/path/to/python3.12 ...",
        )
    uv = find_uv() or install_uv()
    if not uv:
        return fail("pip could not install uv (see above).", "Install uv yourself and try again.")
    remove_moved_environment()
    say("Installing the locked dependencies into .venv (once; about 500 MB) ...")
    # Names of packages scroll by in a terminal only.
    quiet = [] if sys.stderr.isatty() else ["--quiet"]
    command = [uv, "sync", "--frozen", *quiet, "--python", sys.executable]
    if subprocess.run(command, env=uv_environment(), check=False).returncode != 0:
        return fail("uv could not install the dependencies (see above).", "")
    stamp.write_text(os.getcwd())
    say("Prepared.")
    return 0


def find_uv() -> str:
    """A uv that is there already and new enough, or nothing."""
    for candidate in (shutil.which("uv"), str(TOOLS / "bin" / "uv")):
        if candidate and uv_version(candidate) >= UV_MIN:
            return candidate
    return ""


def uv_version(program: str) -> tuple[int, ...]:
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"(\d+)\.(\d+)\.(\d+)", done.stdout)
    return tuple(int(part) for part in found.groups()) if found and done.returncode == 0 else ()


def install_uv() -> str:
    """With the machine's pip, else (Debian ships Python without) with a virtual environment's."""
    say(f"Installing uv {UV_VERSION} into .tools (once) ...")
    shutil.rmtree(TOOLS, ignore_errors=True)
    python = sys.executable
    arguments = ["--target", str(TOOLS)]
    if not succeeds([python, "-m", "pip", "--version"], quiet=True):
        succeeds([python, "-m", "venv", str(TOOLS)])
        python, arguments = str(TOOLS / "bin" / "python"), []
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    options = ["--no-warn-script-location", "--root-user-action", "ignore", *arguments]
    done = succeeds([*pip, *options, f"uv=={UV_VERSION}"])
    return str(TOOLS / "bin" / "uv") if done else ""


def succeeds(command: list[str], quiet: bool = False) -> bool:
    sink = subprocess.DEVNULL if quiet else None
    try:
        return subprocess.run(command, stdout=sink, stderr=sink, check=False).returncode == 0
    except OSError:
        return False


def remove_moved_environment() -> None:
    """The programs in .venv/bin name its folder: after a move, or a copy, they are no good."""
    program = ENVIRONMENT / "bin" / "abono"
    if program.exists() and os.path.abspath(str(ENVIRONMENT)) not in program.read_text():
        say("The folder has moved: making .venv anew ...")
        shutil.rmtree(ENVIRONMENT)


def uv_environment() -> dict[str, str]:
    environment = dict(os.environ)
    environment.pop("VIRTUAL_ENV", None)  # Somebody else's must not be synchronised in our place.
    environment["UV_PROJECT_ENVIRONMENT"] = str(ENVIRONMENT)
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    # Makes the first start of every process a second faster, and all of them where Python may
    # not write its caches.
    environment["UV_COMPILE_BYTECODE"] = "1"
    return environment


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def fail(message: str, hint: str) -> int:
    sys.stderr.write(f"{message} {hint}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
