"""The command line: `python -m benchmarks SUITE`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import places
from benchmarks.models import KERNELS
from benchmarks.places import BenchmarkError
from benchmarks.synthetic import SIZES, Shape
from relama.errors import RelamaError
from relama.storage import CHOICES


def main(arguments: list[str] | None = None) -> int:
    """Runs a suite and returns the exit code: 0 done, 1 an error, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except RelamaError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(
            f"Error: {error.name} is not installed; "
            "run: pip install -r benchmarks/requirements.txt",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures relama beside llama.cpp, transformers and published SQL layouts. "
        "Results are JSON; progress goes to standard error.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    models = commands.add_parser("models", help="write the models and build the databases")
    models.set_defaults(run=_models)

    inmemory = commands.add_parser(
        "inmemory", help="SmolLM2-135M: prefill of 37 to 256 tokens, decode at 64 to 1,000"
    )
    inmemory.add_argument(
        "--only", action="append", default=[], metavar="TEXT", help="systems named so; repeatable"
    )
    inmemory.set_defaults(run=_inmemory)

    memory = commands.add_parser(
        "memory",
        help="seconds per token while the memory shrinks below the model (root, Linux cgroups)",
    )
    _shape_options(memory)
    memory.add_argument(
        "--fractions",
        type=_fractions,
        default=None,
        metavar="F,F,...",
        help="limits as parts of the model's bytes",
    )
    memory.add_argument(
        "--rates",
        type=_rates,
        default=None,
        metavar="MB,MB,...",
        help="disk speeds in MB/s, 0 for its own; default 0,125",
    )
    memory.add_argument("--warmup", type=int, default=3, metavar="N", help="tokens not counted")
    memory.add_argument("--tokens", type=int, default=5, metavar="N", help="tokens counted")
    memory.add_argument(
        "--cap", type=float, default=150, metavar="S", help="seconds after which a point ends"
    )
    memory.add_argument(
        "--no-mmap", action="store_true", help="llama.cpp without a memory-mapped file, too"
    )
    memory.set_defaults(run=_memory)

    scale = commands.add_parser("scale", help="seconds per token and build time by model size")
    scale.add_argument(
        "--sizes",
        type=lambda text: text.split(","),
        default=None,
        metavar="SIZE,...",
        help=f"of {', '.join(SIZES)}; default all",
    )
    scale.set_defaults(run=_scale)

    experts = commands.add_parser(
        "experts", help="a mixture of experts beside dense models of its chosen and of all experts"
    )
    experts.set_defaults(run=_experts)

    rows = commands.add_parser(
        "rows", help="tables of 64 prompts: within dbt build, and llama.cpp with 16 at once"
    )
    rows.set_defaults(run=_rows)

    targets = commands.add_parser(
        "targets", help="SmolLM2-135M on every database: loading, building, prefill and decode"
    )
    targets.add_argument(
        "--only", action="append", default=[], metavar="TEXT", help="systems named so; repeatable"
    )
    targets.set_defaults(run=_targets)

    for command in (models, inmemory, memory, scale, experts, rows):
        command.add_argument("--threads", type=int, default=2, metavar="N", help="of every system")
        command.add_argument("--rebuild", action="store_true", help="make relama's projects anew")
    for command in (memory, scale, experts, rows):
        command.add_argument(
            "--storage", choices=CHOICES, default="int8", help="relama's storage; default int8"
        )
    for command in (models, inmemory, memory, scale, experts, rows):
        default = "native" if command in (memory, scale) else "native,sql"
        command.add_argument(
            "--kernels",
            type=_kernels,
            default=default,
            metavar="K,K",
            help=f"what does relama's arithmetic, native or sql; default {default}",
        )
    for command in (inmemory, scale, experts, targets):
        command.add_argument("--repeat", type=int, default=5, metavar="N", help="rounds")
    for command in (inmemory, memory, scale, experts, rows, targets):
        command.add_argument(
            "--quick", action="store_true", help="little of everything, to see that it works"
        )
        command.add_argument(
            "--out",
            type=Path,
            metavar="DIR",
            help="where the JSON goes; default benchmarks/results",
        )

    report = commands.add_parser("report", help="draw the plots and print the tables")
    report.add_argument("--results", type=Path, default=places.RESULTS, metavar="DIR")
    report.add_argument("--images", type=Path, default=places.IMAGES, metavar="DIR")
    report.set_defaults(run=_report)
    return parser


def _shape_options(parser: argparse.ArgumentParser) -> None:
    for name, default in vars(Shape()).items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=int,
            default=default,
            metavar="N",
            help=f"of the synthetic model; default {default}",
        )


def _fractions(text: str) -> list[float]:
    values = [float(part) for part in text.split(",")]
    if any(value <= 0 for value in values):
        raise argparse.ArgumentTypeError("a limit must be above 0")
    return values


def _kernels(text: str) -> list[str]:
    values = text.split(",")
    for value in values:
        if value not in KERNELS:
            raise argparse.ArgumentTypeError(f"'{value}' is none of {', '.join(KERNELS)}")
    return values


def _rates(text: str) -> list[int | None]:
    return [round(float(part) * 1e6) or None for part in text.split(",")]


def _models(options: argparse.Namespace) -> int:
    from benchmarks import models

    models.relama_specs(options.threads, options.kernels, say, options.rebuild)
    models.llama_cpp_specs(options.threads, say)
    models.published_specs(options.threads, say)
    return 0


def _inmemory(options: argparse.Namespace) -> int:
    from benchmarks import inmemory

    result = inmemory.run(
        repeat=2 if options.quick else options.repeat,
        quick=options.quick,
        threads=options.threads,
        only=options.only,
        kernels=options.kernels,
        rebuild=options.rebuild,
        say=say,
    )
    return _keep(result, options)


def _memory(options: argparse.Namespace) -> int:
    from benchmarks import memory

    shape = Shape(**{name: getattr(options, name) for name in vars(Shape())})
    shape.check()
    result = memory.run(
        shape=shape,
        storage=options.storage,
        kernels=options.kernels,
        fractions=options.fractions or ((1.3, 0.7) if options.quick else memory.FRACTIONS),
        rates=options.rates or (None, memory.PUBLISHED_DISK),
        warmup=1 if options.quick else options.warmup,
        tokens=2 if options.quick else options.tokens,
        cap=options.cap,
        no_mmap=options.no_mmap,
        threads=options.threads,
        rebuild=options.rebuild,
        say=say,
    )
    return _keep(result, options)


def _scale(options: argparse.Namespace) -> int:
    from benchmarks import scale

    sizes = options.sizes or ([*SIZES][:1] if options.quick else [*SIZES])
    for size in sizes:
        if size not in SIZES:
            raise BenchmarkError(f"There is no size '{size}'; there are {', '.join(SIZES)}.")
    result = scale.run(
        sizes=sizes,
        storage=options.storage,
        kernels=options.kernels,
        repeat=2 if options.quick else options.repeat,
        threads=options.threads,
        rebuild=options.rebuild,
        say=say,
    )
    return _keep(result, options)


def _experts(options: argparse.Namespace) -> int:
    from benchmarks import experts

    result = experts.run(
        storage=options.storage,
        kernels=options.kernels,
        repeat=2 if options.quick else options.repeat,
        threads=options.threads,
        quick=options.quick,
        rebuild=options.rebuild,
        say=say,
    )
    return _keep(result, options)


def _rows(options: argparse.Namespace) -> int:
    from benchmarks import rows

    result = rows.run(
        storage=options.storage,
        kernels=options.kernels,
        quick=options.quick,
        threads=options.threads,
        say=say,
    )
    return _keep(result, options)


def _targets(options: argparse.Namespace) -> int:
    from benchmarks import targets

    repeat = 1 if options.quick else options.repeat
    return _keep(targets.run(repeat=repeat, only=options.only, say=say), options)


def _report(options: argparse.Namespace) -> int:
    from benchmarks import report

    results = report.load(options.results)
    print(report.markdown(results))
    report.plot(results, options.images, say)
    for failure in report.failures(results):
        say(f"CHECK FAILED: {failure}")
    return 1 if report.failures(results) else 0


def _keep(result: dict[str, Any], options: argparse.Namespace) -> int:
    """Writes a suite's result; a quick one not among those that are published."""
    directory = options.out or (places.BUILD / "quick" if options.quick else places.RESULTS)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{result['suite']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    say(f"wrote {path}")
    return 0


_BEGAN = time.monotonic()


def say(text: str) -> None:
    """A line of progress, with the seconds since the start."""
    print(f"[{time.monotonic() - _BEGAN:7.1f} s] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
