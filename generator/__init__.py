"""relama: compiles a Llama-family language model into a dbt project."""

import os

# DuckDB's allocator is jemalloc, which reads this when DuckDB is imported: give back what is
# free for 100 ms, and take no page beside a block of 64 pages.
os.environ.setdefault(
    "DUCKDB_JE_MALLOC_CONF",
    "narenas:1,dirty_decay_ms:100,muzzy_decay_ms:0,cache_oblivious:false",
)

__version__ = "0.1.0"
