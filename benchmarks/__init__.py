"""The benchmark: relama beside native runtimes and beside published SQL layouts.

`python -m benchmarks --help` lists the suites; docs/benchmarks.md says what is measured.
"""
