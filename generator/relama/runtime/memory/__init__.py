"""The memory limit: which weights a session keeps in memory, and how it reads the others.

Whoever is outside this room imports from here alone.
"""

from relama.runtime.memory.forecast import forecast, layer_numbers
from relama.runtime.memory.limit import Weights, limited
from relama.runtime.memory.size import megabytes, parse_size

__all__ = ["Weights", "forecast", "layer_numbers", "limited", "megabytes", "parse_size"]
