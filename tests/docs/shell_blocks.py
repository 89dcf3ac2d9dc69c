"""The shell blocks of the documents, as a script that fails where a reader would be misled."""

from __future__ import annotations

import re
from collections.abc import Mapping

# What a reader is told to expect is the comment, where it is one word: `get … | field status   # active`.
_EXPECTATION = re.compile(r"^(?P<command>(?P<call>get|post) .*\| field \S+)\s+# (?P<value>[\w-]+)$")
# A read is repeated: on a busy machine the second that the document waits may be too short.
_HELPERS = r"""
set -eo pipefail
expect() { [ "$1" = "$2" ] || { echo "told to expect $2, got: $1" >&2; exit 1; }; echo "$1"; }
repeat_until() {
  for _ in $(seq 150); do RESULT=$(eval "$2"); [ "$RESULT" = "$1" ] && break; sleep 0.2; done
}
"""


def shell_blocks(markdown: str) -> list[str]:
    """Each without its fence, comments included."""
    return re.findall(r"^```sh\n(.*?)^```$", markdown, flags=re.MULTILINE | re.DOTALL)


def script(blocks: list[str], instead: Mapping[str, str]) -> str:
    """One bash script of them. `instead` replaces what only a reader can fill in; each of its keys must be
    there, or the document and the test have parted. Raises LookupError."""
    text = "".join(blocks)
    for placeholder, value in instead.items():
        if placeholder not in text:
            raise LookupError(f"no document says {placeholder!r} any more")
        text = text.replace(placeholder, value)
    return _HELPERS + "\n".join(_checked(line) for line in text.splitlines()) + "\n"


def _checked(line: str) -> str:
    found = _EXPECTATION.match(line)
    if found is None:
        return line
    command, value = found["command"], found["value"]
    if found["call"] == "post":
        return f'expect "$({command})" {value}'
    quoted = "'" + command.replace("'", "'\\''") + "'"
    return f'repeat_until {value} {quoted}; expect "$RESULT" {value}'
