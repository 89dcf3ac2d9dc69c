"""What can go wrong while the stack is brought up, and how it is told to a person.

DevError              anything below; its text is one line, `hint` says what to do next
├── PortBusy          a port that was asked for by name is taken
├── AlreadyRunning    a stack with this ABONO_HOME runs already
└── ChildFailed       a process died or was not ready in time; its log is named
"""

from __future__ import annotations


class DevError(Exception):
    """A machine or a setting stands in the way. Shown without a stack trace."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class PortBusy(DevError):
    pass


class AlreadyRunning(DevError):
    pass


class ChildFailed(DevError):
    pass
