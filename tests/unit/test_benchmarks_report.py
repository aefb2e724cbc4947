"""What the benchmark makes of its figures, and what it says where it cannot measure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import cgroups
from benchmarks.__main__ import _parser, main
from benchmarks.checks import check, cosine, passes
from benchmarks.inmemory import compare_tokens, summary
from benchmarks.memory import measured
from benchmarks.places import BenchmarkError
from benchmarks.plots import OTHER as OTHER_COLOUR
from benchmarks.plots import SQL, _colour
from benchmarks.report import experts_table, failures, load, markdown, targets_table

MACHINE = {
    "date": "2025-01-02T03:04:05+00:00",
    "processor": "Some CPU",
    "cores": 4,
    "memory_bytes": 8_000_000_000,
    "disk_bytes_per_s": 500e6,
    "versions": {"relama": "1.0"},
}
SAME = {"next_token": 5, "same_next_token": True, "cosine": 0.99999, "passed": True}
OTHER = {"next_token": 6, "same_next_token": False, "cosine": 0.9, "passed": False}


def inmemory() -> dict[str, Any]:
    def system(name: str, speed: float, checked: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": name,
            "checked": checked,
            "measures": {
                "prefill_37": {"tokens_per_s": speed},
                "decode_1000": {"tokens_per_s": speed / 100},
            },
        }

    return {
        "machine": MACHINE,
        "settings": {"threads": 2},
        "systems": [system("relama int8", 1234.5, SAME), system("other", 45.6, OTHER)],
    }


def memory() -> dict[str, Any]:
    points = [
        {"fraction": 1.0, "read_rate": None, "median_s": 0.5, "read_bytes": 2_000_000},
        {"fraction": 0.5, "read_rate": None, "failed": "it was killed"},
    ]
    return {
        "machine": MACHINE,
        "settings": {"threads": 2},
        "model_bytes": 2_400_000_000,
        "systems": [{"name": "relama int8", "checked": SAME, "points": points}],
    }


def rows() -> dict[str, Any]:
    return {
        "machine": MACHINE,
        "settings": {
            "storage": "int8",
            "threads": 2,
            "prompt_tokens": 30,
            "new_tokens": 20,
            "instruction_tokens": 200,
            "answer_tokens": 5,
        },
        "systems": [
            {
                "name": "relama int8, native",
                "cases": {
                    "one_at_a_time": {"rows": 8, "seconds": 14.4, "seconds_a_row": 1.8},
                    "batches_of_16": {"rows": 64, "seconds": 12.84, "seconds_a_row": 0.2006},
                },
            },
            {
                "name": "llama.cpp F32, 16 sequences",
                "cases": {"batches_of_16": {"rows": 64, "seconds": 6.4, "seconds_a_row": 0.1}},
            },
        ],
    }


def rows_of_one_system() -> dict[str, Any]:
    """As they were written before there were kernels."""
    case = {"rows": 64, "seconds": 128.4, "seconds_a_row": 2.006}
    old: dict[str, Any] = {**rows(), "cases": {"batches_of_16": case}}
    del old["systems"]
    return old


def write(directory: Path, **results: dict[str, Any]) -> None:
    for suite, result in results.items():
        (directory / f"{suite}.json").write_text(json.dumps(result))


def test_the_table_of_speeds(tmp_path: Path) -> None:
    write(tmp_path, inmemory=inmemory())
    table = markdown(load(tmp_path)).splitlines()
    assert table[:4] == [
        "| tokens per second | prefill 37 | decode at 1,000 | check |",
        "| --- | ---: | ---: | ---: |",
        "| relama int8 | 1,234 | 12.3 | same token, cosine 1.0000 |",
        "| other | 45.6 | 0.456 | **failed**, cosine 0.9000 |",
    ]
    assert table[-1] == (
        "Some CPU, 2 threads of 4 cores, 8 GB of memory, disk 500 MB/s; relama 1.0; 2025-01-02."
    )


def test_the_table_of_the_memory_curve(tmp_path: Path) -> None:
    write(tmp_path, memory=memory())
    table = markdown(load(tmp_path)).splitlines()
    assert table[0] == "| limit | relama int8, own disk |"
    assert table[2] == "| 1 x (2.40 GB) | 0.50 s, 2 MB |"
    assert table[3] == "| 0.5 x (1.20 GB) | failed |"


def test_the_table_of_rows(tmp_path: Path) -> None:
    write(tmp_path, rows=rows())
    table = markdown(load(tmp_path)).splitlines()
    assert table[:4] == [
        "| seconds per row | rows | relama int8, native | llama.cpp F32, 16 sequences |",
        "| --- | ---: | ---: | ---: |",
        "| one at a time | 8 | 1.8 s |  |",
        "| batches of 16 | 64 | 0.201 s | 0.1 s |",
    ]
    assert failures(load(tmp_path)) == []


def test_old_results_of_rows_are_those_of_sql(tmp_path: Path) -> None:
    write(tmp_path, rows=rows_of_one_system())
    table = markdown(load(tmp_path)).splitlines()
    assert table[0] == "| seconds per row | rows | relama int8, SQL |"
    assert table[2] == "| batches of 16 | 64 | 2.01 s |"


def test_the_table_of_targets() -> None:
    systems = [
        {
            "name": "A",
            "load_s": 12.3,
            "build_s": 99.0,
            "prefill_s": 7.3,
            "decode_s": 2.55,
            "bytes": 2e6,
        },
        {"name": "B", "build_s": 211.04, "decode_s": 23.4, "bytes": 466e6},
    ]
    rows = targets_table({"systems": systems}).splitlines()
    assert rows[2:] == ["| A | 12.3 | 99 | 7.3 | 2.55 | 2 |", "| B |  | 211 |  | 23.4 | 466 |"]


def test_the_table_of_experts() -> None:
    names = {"2 of 6 experts": 0.02, "dense, as the chosen": 0.018, "dense, as all": 0.05}
    systems = [
        {"name": name, "kernels": kernels, "median_s": seconds * times}
        for kernels, times in (("native", 1), ("sql", 10))
        for name, seconds in names.items()
    ]
    result = {"systems": systems, "settings": {"storage": "int8"}}
    rows = experts_table(result).splitlines()
    assert rows[0] == "| model | native | sql |"
    assert rows[3] == "| dense, as the chosen | 0.018 s (0.90) | 0.180 s (0.90) |"


def test_a_bar_has_the_colour_of_its_system() -> None:
    assert _colour("relama int8, native") == _colour("relama int8, native, batches of 16")
    assert _colour("relama int8, native") != _colour("relama float32, native") != OTHER_COLOUR
    assert _colour("relama int8, SQL, read once") == _colour("relama float32, SQL") == SQL
    assert _colour("llama.cpp F32, 16 sequences") == _colour("llama.cpp F32")
    assert _colour("llama.cpp Q8_0, no mmap") != _colour("llama.cpp Q8_0") != OTHER_COLOUR
    assert _colour("SQL, chunks as columns") == OTHER_COLOUR


def test_a_failed_check_is_named(tmp_path: Path) -> None:
    write(tmp_path, inmemory=inmemory(), memory=memory())
    assert failures(load(tmp_path)) == ["inmemory: other, cosine 0.900000, different next token"]


def test_no_results_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--results", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"Error: {tmp_path} holds no results; run: python -m benchmarks inmemory\n"
    )


def test_medians() -> None:
    kept = summary([3.0, 1.0, 2.0])
    assert (kept["median_s"], kept["least_s"], kept["most_s"]) == (2.0, 1.0, 3.0)


def test_a_float32_system_that_chooses_other_tokens_fails() -> None:
    def result(kind: str, quantised: bool, token: int) -> dict[str, Any]:
        measures = {"prefill_37": {"next_tokens": [token]}}
        return {"kind": kind, "quantised": quantised, "checked": {**SAME}, "measures": measures}

    results = [
        result("transformers", False, 5),
        result("relama", False, 6),
        result("llama.cpp", True, 6),
    ]
    compare_tokens(results)
    assert [r["measures"]["prefill_37"]["same_next_tokens"] for r in results] == [
        True,
        False,
        False,
    ]
    assert [r["checked"]["passed"] for r in results] == [True, False, True]


def test_the_warm_up_does_not_count() -> None:
    steps = [
        {"seconds": [value], "read_bytes": 10, "peak_resident_bytes": 1}
        for value in (9.0, 8.0, 1.0, 3.0, 2.0)
    ]
    assert measured(steps, warmup=2)["median_s"] == 2.0
    # Where time ran out in the warm-up, the last two count.
    assert measured(steps[:3], warmup=2)["seconds"] == [8.0, 1.0]
    assert measured(steps[:1], warmup=2) == {}


def test_checks() -> None:
    expected = np.array([1.0, 3.0, 2.0], np.float32)
    turned = np.array([1.0, 2.9999, 3.0], np.float32)
    near = np.array([1.0, 2.9, 2.0], np.float32)
    assert cosine(expected, 2 * expected) == pytest.approx(1.0)
    assert check(expected, expected, quantised=False)["passed"]
    assert check(near, expected, quantised=True)["passed"]
    assert not check(turned, expected, quantised=False)["passed"]
    assert not check(np.full(3, np.nan, np.float32), expected, quantised=True)["passed"]


def test_a_quantised_system_may_be_less_near_with_the_same_token() -> None:
    assert passes(same=True, near=0.998, quantised=True)
    assert not passes(same=True, near=0.998, quantised=False)
    assert not passes(same=False, near=0.998, quantised=True)
    assert not passes(same=True, near=0.98, quantised=True)


def test_without_root_the_memory_suite_says_so() -> None:
    assert cgroups.unavailable(user=1000) in (
        "The memory suite needs root to set cgroup limits and is left out.",
        "The memory suite needs Linux cgroups and is left out on this system.",
    )


def test_without_cgroups_the_memory_suite_says_so(tmp_path: Path) -> None:
    reason = cgroups.unavailable(tmp_path, user=0)
    assert reason is not None
    assert reason.startswith("The memory suite needs")
    assert reason.endswith("is left out.") or "Linux" in reason


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")
def test_both_versions_of_cgroups_are_found(tmp_path: Path) -> None:
    second = tmp_path / "2"
    second.mkdir()
    (second / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    assert cgroups.unavailable(second, user=0) is None
    first = tmp_path / "1"
    (first / "memory").mkdir(parents=True)
    (first / "blkio").mkdir()
    (first / "memory" / "memory.limit_in_bytes").touch()
    assert cgroups.unavailable(first, user=0) is None


def test_unknown_names_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scale", "--sizes", "7T"]) == 1
    assert "There is no size '7T'" in capsys.readouterr().err
    for option, choices in (
        ("--storage", "'float32', 'int8', 'int4'"),
        ("--kernels", "native, sql"),
    ):
        with pytest.raises(SystemExit):
            main(["memory", option, "int3"])
        error = capsys.readouterr().err
        assert "'int3'" in error and choices in error


def test_kernels_of_the_suites() -> None:
    """Models of billions of weights are measured without SQL, if nothing else is asked for."""
    for suite, kernels in (("memory", 1), ("scale", 1), ("inmemory", 2), ("rows", 2)):
        assert _parser().parse_args([suite]).kernels == ["native", "sql"][:kernels]
    assert _parser().parse_args(["scale", "--kernels", "sql"]).kernels == ["sql"]


def test_a_group_is_entered_before_the_command_runs(tmp_path: Path) -> None:
    group = cgroups.Group(1, (tmp_path,))
    command = group.wrap(["python", "-c", "pass"])
    assert command[:2] == ["/bin/sh", "-c"]
    assert command[2] == f'echo $$ > "{tmp_path}/cgroup.procs" && exec "$@"'
    assert command[3:] == ["sh", "python", "-c", "pass"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")
def test_a_file_system_without_a_disk_is_refused() -> None:
    with pytest.raises(BenchmarkError, match="without a disk"):
        cgroups.device(Path("/proc/self/status"))
