"""Python runs this when it starts, where this folder is on PYTHONPATH: see `chdb_redirect`.

Then it runs the next file of this name, as it would without this folder.
"""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

from chdb_redirect import install

install()

_here = Path(__file__).parent
_others = [entry for entry in sys.path if Path(entry or ".").resolve() != _here.resolve()]
_spec = PathFinder.find_spec("sitecustomize", _others)
if _spec is not None and _spec.loader is not None:
    _spec.loader.exec_module(module_from_spec(_spec))
