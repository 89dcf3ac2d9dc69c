"""Starts a program that cannot outlive the process that started it.

Run as a script: `python -I -S tether.py SIGNAL PARENT_PID ACCOUNT PROGRAM [ARGUMENT...]`, where ACCOUNT is
`uid:gid` or `-`. A script of its own, because what Linux promises here (PR_SET_PDEATHSIG) must be
set between fork and exec, and running Python there is unsafe in a program with threads. It also
has to come after the change of account, which clears it.
"""

from __future__ import annotations

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(arguments: list[str]) -> None:
    signal_number, parent_pid, account, *command = arguments
    if account != "-":
        uid, gid = (int(part) for part in account.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal_number), 0, 0, 0)
        if os.getppid() != int(parent_pid):  # It died before the promise was made.
            sys.exit(1)
    os.execv(command[0], command)  # noqa: S606 - the supervisor's own command, no shell


if __name__ == "__main__":
    main(sys.argv[1:])
