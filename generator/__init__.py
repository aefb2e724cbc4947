"""relama: compiles a Llama-family language model into a dbt project."""

import os

# DuckDB's allocator keeps what is freed for a while. Read when DuckDB is imported.
os.environ.setdefault("DUCKDB_JE_MALLOC_CONF", "narenas:1,dirty_decay_ms:100,muzzy_decay_ms:0")

__version__ = "0.1.0"
