"""A limit on memory, page cache included, and on the disk, for one process (Linux cgroups).

Version 1 (`memory.limit_in_bytes`, `blkio.throttle.read_bps_device`) and
version 2 (`memory.max`, `io.max`) do the same under different names. Pages of
a file count for whoever reads them first, so what is to be read must not be in
the page cache before: see `forget`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.places import BenchmarkError

MOUNT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Group:
    """A cgroup that processes can be started in.

    Attributes:
        version: 1 or 2.
        directories: where its controllers lie: one each in version 1, one for all in 2.
    """

    version: int
    directories: tuple[Path, ...]

    def wrap(self, command: Sequence[str]) -> list[str]:
        """The command that enters the group and then becomes `command`."""
        script = "".join(f'echo $$ > "{path}/cgroup.procs" && ' for path in self.directories)
        return ["/bin/sh", "-c", f'{script}exec "$@"', "sh", *command]

    def peak(self) -> int:
        """The most bytes that it held at once, page cache included; 0 where not known."""
        name = "memory.max_usage_in_bytes" if self.version == 1 else "memory.peak"
        try:
            return int((self.directories[0] / name).read_text())
        except OSError:
            return 0


def unavailable(mount: Path = MOUNT, user: int | None = None) -> str | None:
    """Why processes cannot be limited here, as one sentence; None if they can."""
    if not sys.platform.startswith("linux"):
        return "The memory suite needs Linux cgroups and is left out on this system."
    if (os.geteuid() if user is None else user) != 0:
        return "The memory suite needs root to set cgroup limits and is left out."
    if _version(mount) is None:
        return (
            "The memory suite needs cgroups with the controllers memory and blkio (or io) "
            f"under {mount} and is left out."
        )
    return None


def _version(mount: Path) -> int | None:
    if (mount / "memory" / "memory.limit_in_bytes").is_file() and (mount / "blkio").is_dir():
        return 1
    with suppress(OSError):
        if {"memory", "io"} <= set((mount / "cgroup.controllers").read_text().split()):
            return 2
    return None


@contextmanager
def limited(memory: int, read_rate: int | None, file: Path) -> Iterator[Group]:
    """A group that may hold `memory` bytes and read `read_rate` bytes per second.

    Args:
        memory: bytes of processes and page cache together; swap is not used.
        read_rate: bytes per second, or None for the disk's own speed.
        file: any file on the disk that is throttled.

    Raises:
        BenchmarkError: the kernel refuses a limit.
    """
    version = _version(MOUNT)
    assert version is not None
    name = f"relama-bench-{os.getpid()}"
    roots = (MOUNT / "memory", MOUNT / "blkio") if version == 1 else (MOUNT,)
    group = Group(version, tuple(root / name for root in roots))
    try:
        try:
            if version == 2:
                (MOUNT / "cgroup.subtree_control").write_text("+memory +io")
            for directory in group.directories:
                directory.mkdir(exist_ok=True)
            _set_limits(group, memory, read_rate, file)
        except OSError as error:
            raise BenchmarkError(f"The kernel refuses a cgroup limit: {error}.") from None
        yield group
    finally:
        _remove(group)


def _set_limits(group: Group, memory: int, read_rate: int | None, file: Path) -> None:
    first = group.directories[0]
    if group.version == 1:
        (first / "memory.limit_in_bytes").write_text(str(memory))
        (first / "memory.swappiness").write_text("0")
        if read_rate is not None:
            throttle = group.directories[1] / "blkio.throttle.read_bps_device"
            throttle.write_text(f"{device(file)} {read_rate}")
    else:
        (first / "memory.max").write_text(str(memory))
        with suppress(OSError):  # absent where the kernel has no swap
            (first / "memory.swap.max").write_text("0")
        if read_rate is not None:
            (first / "io.max").write_text(f"{device(file)} rbps={read_rate}")


def _remove(group: Group) -> None:
    """Removes the group once its processes are gone, and the page cache it held."""
    if group.version == 1:
        with suppress(OSError):
            (group.directories[0] / "memory.force_empty").write_text("0")
    for directory in group.directories:
        for _ in range(50):
            try:
                directory.rmdir()
                break
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.1)


def device(file: Path) -> str:
    """`major:minor` of the disk that `file` lies on; a limit needs the disk, not a partition.

    Raises:
        BenchmarkError: the file system has no disk of its own.
    """
    number = file.stat().st_dev
    entry = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}")
    if not entry.exists():
        raise BenchmarkError(f"{file} lies on a file system without a disk, which has no speed.")
    if (entry / "partition").exists():
        return (entry.resolve().parent / "dev").read_text().strip()
    return f"{os.major(number)}:{os.minor(number)}"


def forget(path: Path) -> None:
    """Drops the pages of a file, or of all files in a directory, from the page cache."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    for file in files:
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
