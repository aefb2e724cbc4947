"""The stack that DuckDB plans statements on."""

from __future__ import annotations

import sys

#: Linux leaves the main thread about so much room, whatever the limit was at its start.
_STACK = 120 << 20


def deepen_stack() -> None:
    """Lets the stack of the main thread, and of all threads of child processes, grow.

    DuckDB plans by recursion: the statement of a step of 36 layers takes more than the
    usual 8 MB, and a process that runs out of stack is killed. Does nothing elsewhere
    than on Linux.
    """
    if sys.platform != "linux":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if soft == resource.RLIM_INFINITY or soft >= _STACK:
        return
    wanted = _STACK if hard == resource.RLIM_INFINITY else min(_STACK, hard)
    resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))
