"""The process of one system: a JSON request a line in, a JSON reply a line out.

    python -m benchmarks.worker '{"name": ..., "kind": ..., ...}'

Between requests it waits, so that one system at a time uses the machine.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.systems import Spec, System, open_system


def answer(system: System, request: dict[str, Any]) -> dict[str, Any]:
    """What the system replies to one request.

    | do | replies |
    |---|---|
    | `load` | seconds |
    | `prefill` ids | seconds, next_token, usage |
    | `fill` ids, cache | seconds, next_token |
    | `decode` ids, steps | seconds and next_tokens, a list each, usage |
    | `logits` ids, file | next_token; the logits in `file`, as .npy |
    """
    before = usage()
    began = time.perf_counter()
    match request["do"]:
        case "load":
            system.load()
            return {"seconds": time.perf_counter() - began}
        case "prefill":
            took, token = system.prefill(request["ids"])
            return {"seconds": took, "next_token": token, **_difference(before)}
        case "fill":
            token = system.fill(request["ids"], Path(request["cache"]))
            return {"seconds": time.perf_counter() - began, "next_token": token}
        case "decode":
            seconds, tokens = system.decode(request["ids"], request["steps"])
            return {"seconds": seconds, "next_tokens": tokens, **_difference(before)}
        case "logits":
            logits = system.logits(request["ids"])
            import numpy as np  # As in base.py.

            np.save(request["file"], logits)
            return {"next_token": int(logits.argmax())}
    raise ValueError(f"unknown request {request['do']!r}")


def usage() -> dict[str, int]:
    """Bytes that this process has read from the disk, and its largest resident size; 0 unknown."""
    return {
        "read_bytes": _number(Path("/proc/self/io"), "read_bytes:"),
        "peak_resident_bytes": _number(Path("/proc/self/status"), "VmHWM:") * 1024,
    }


def _difference(before: dict[str, int]) -> dict[str, int]:
    after = usage()
    after["read_bytes"] -= before["read_bytes"]
    return after


def _number(path: Path, key: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(key)), 0)


def _requests() -> Iterator[dict[str, Any]]:
    for line in sys.stdin:
        yield json.loads(line)


def main() -> None:
    # Ctrl-C is the parent's business; it closes our standard input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever a library prints goes to standard error; replies have the pipe to themselves.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    system = open_system(Spec(**json.loads(sys.argv[1])))
    loaded = False
    for request in _requests():
        try:
            reply = answer(system, request)
            loaded = loaded or request["do"] == "load"
        except Exception as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), file=replies, flush=True)
    if loaded:
        system.close()


if __name__ == "__main__":
    main()
