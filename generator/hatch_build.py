"""Puts the native kernels into a wheel where they can be built; it is for one platform then.

Without a C compiler the wheel is pure Python, for all platforms.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags


class KernelsBuildHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        # An editable installation uses what `make kernels` leaves beside the sources.
        if version == "editable":
            return
        sys.path.insert(0, str(Path(self.root) / "generator"))
        from relama.errors import RelamaError
        from relama.kernels import FILE_NAME
        from relama.kernels.build import build

        self.built = tempfile.TemporaryDirectory()
        try:
            file = build(Path(self.built.name) / FILE_NAME)
        except RelamaError as error:
            self.app.display_warning(f"The wheel has no native kernels. {error}")
            return
        platform = next(tag.platform for tag in sys_tags() if "manylinux" not in tag.platform)
        build_data["force_include"][str(file)] = f"relama/kernels/{FILE_NAME}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            self.built.cleanup()
