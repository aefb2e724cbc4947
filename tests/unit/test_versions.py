"""What one version of dbt has and another has not."""

from __future__ import annotations

from tests.conftest import ROOT


def test_no_macro_uses_regular_expressions_of_python() -> None:
    """dbt 2 has only a part of `modules.re`, on another engine."""
    files = [*ROOT.glob("macros/**/*"), *ROOT.glob("generator/relama/project/templates/**/*")]
    users = [
        str(path.relative_to(ROOT))
        for path in files
        if path.is_file() and "modules.re" in path.read_text()
    ]
    assert len(files) > 100
    assert users == []
