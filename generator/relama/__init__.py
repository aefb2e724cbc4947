"""relama: compiles a Llama-family language model into a dbt project."""

import os

# DuckDB's allocator is jemalloc, which reads this when DuckDB is imported: take no page
# beside a block of 64 pages (docs/decisions/0011).
os.environ.setdefault("DUCKDB_JE_MALLOC_CONF", "cache_oblivious:false")

__version__ = "0.1.0"
