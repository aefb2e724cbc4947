"""A statement that nests deeply is planned, not the end of the process."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_STACK, (8 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1]))
import duckdb
from relama.runtime.stack import deepen_stack
if sys.argv[1] == "deep":
    deepen_stack()
steps = ["m0 as materialized (select 1 as x)"] + [
    f"m{i + 1} as materialized (select a.x from m{i} as a cross join m{i} as b)"
    for i in range(2000)
]
duckdb.sql("set max_expression_depth to 100000")
(row,) = duckdb.sql(f"with {', '.join(steps)} select x from m2000").fetchall()
print(row[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the stack is deepened on Linux only")
def test_a_deep_statement() -> None:
    command = [sys.executable, "-c", PROGRAM]
    assert subprocess.run([*command, "as it is"], capture_output=True).returncode == -signal.SIGSEGV
    done = subprocess.run([*command, "deep"], capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr[-500:]
