"""Builds the native kernels, an extension of DuckDB, with a C compiler.

    python -m relama.kernels.build [--output FILE] [--cc CC] [--headers DIR] [--sanitize]

Only Python's standard library is needed, so that the build of a wheel can use it.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from relama.errors import RelamaError
from relama.kernels import FILE_NAME, headers

SOURCES = Path(__file__).parent / "src"

#: In the file's footer; DuckDB shows it in duckdb_extensions().
VERSION = "1.0"

#: The sources with arithmetic are compiled once for each level of instructions.
KERNELS = ("linear.c", "elementwise.c", "attention.c")
LEVELS: dict[str, dict[str, list[str]]] = {
    "amd64": {
        "baseline": [],
        "avx2": ["-mavx2", "-mfma"],
        "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"],
    },
    "arm64": {"baseline": []},
}
FUNCTIONS = (
    "extension.c",
    "functions_linear.c",
    "functions_elementwise.c",
    "functions_attention.c",
    "functions_logits.c",
)

#: A product and a sum may become one operation; apart from that, arithmetic is as written.
FLAGS = [
    *("-std=gnu11", "-O3", "-fPIC", "-fvisibility=hidden"),
    *("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
    *("-Wall", "-Wextra", "-Wno-psabi"),
]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-g"]


def build(
    output: Path, cc: str | None = None, include: Path | None = None, sanitize: bool = False
) -> Path:
    """Compiles the extension and writes it to `output`, as a whole or not at all.

    cc        the compiler, by default $CC or cc; one for another machine gives a file for
              that machine
    include   a directory with duckdb.h and duckdb_extension.h; by default they are fetched
    sanitize  with AddressSanitizer and UndefinedBehaviorSanitizer

    Raises RelamaError without a compiler or headers, or where a compilation fails.
    """
    if output.name != FILE_NAME:
        raise RelamaError(f"{output}: DuckDB loads the kernels from a file {FILE_NAME} only")
    compiler = shlex.split(cc or os.environ.get("CC") or "cc")
    system, machine = target(compiler)
    include = include or headers.directory()
    flags = [*FLAGS, *(SANITIZE if sanitize else []), "-isystem", str(include)]

    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".kernels-") as work:
        # An object's name, its source, and flags of its own.
        objects: dict[str, tuple[str, list[str]]] = {source: (source, []) for source in FUNCTIONS}
        for level, instructions in LEVELS[machine].items():
            for source in KERNELS:
                objects[f"{level}.{source}"] = (source, [f"-DLEVEL={level}", *instructions])
        files = [str(Path(work) / f"{name}.o") for name in objects]
        commands = [
            [*compiler, *flags, *extra, "-c", str(SOURCES / source), "-o", file]
            for file, (source, extra) in zip(files, objects.values(), strict=True)
        ]
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(_run, commands))
        library = Path(work) / FILE_NAME
        _run([*compiler, *flags, "-shared", *files, "-lm", "-o", str(library)])
        with library.open("ab") as file:
            file.write(footer(f"{system}_{machine}"))
        library.replace(output)
    return output


def target(compiler: Sequence[str]) -> tuple[str, str]:
    """The system and the machine that a compiler compiles for, in DuckDB's words.

    ("linux", "amd64"); with a C library other than glibc, DuckDB's platform ends in
    "_musl", which is part of the machine's name here.
    """
    try:
        triple = _run([*compiler, "-dumpmachine"]).strip()
    except FileNotFoundError:
        raise RelamaError(
            f"There is no C compiler {compiler[0]!r}, so the native kernels cannot be built; "
            "relama works without them, in stock SQL, several times slower."
        ) from None
    system = "linux" if "linux" in triple else "osx" if "darwin" in triple else None
    machine = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(triple.split("-")[0])
    if system is None or machine is None or "musl" in triple:
        raise RelamaError(
            f"The native kernels are not written for {triple}: they run on Linux with glibc "
            "and on macOS, on x86-64 and ARM64."
        )
    return system, machine


def footer(platform: str) -> bytes:
    """The last 534 bytes of a loadable extension: what DuckDB reads before it loads it.

    A custom section in WebAssembly's format, for all platforms: eight fields of 32 bytes,
    the last one first, and 256 bytes of a signature, which are empty.
    """
    fields = ["4", platform, "v1.2.0", VERSION, "C_STRUCT", "", "", ""]
    section = b"\x00\x93\x04\x10duckdb_signature\x80\x04"
    metadata = b"".join(field.encode().ljust(32, b"\0") for field in reversed(fields))
    return section + metadata + bytes(256)


def _run(command: Sequence[str]) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RelamaError(f"{shlex.join(command)} failed:\n{result.stderr.strip()}")
    if result.stderr:
        print(result.stderr, file=sys.stderr)
    return result.stdout


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m relama.kernels.build", description="Builds relama's native kernels."
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / FILE_NAME)
    parser.add_argument("--cc", help="the C compiler; $CC or cc by default")
    parser.add_argument("--headers", type=Path, help="directory with DuckDB's C headers")
    parser.add_argument("--sanitize", action="store_true", help="with sanitizers, to test")
    arguments = parser.parse_args()
    try:
        output = build(arguments.output, arguments.cc, arguments.headers, arguments.sanitize)
    except RelamaError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Native kernels: {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
