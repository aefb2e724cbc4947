"""The memory limit: which weights a session keeps in memory, and how it reads the others.

Whoever is outside this room imports from here alone.
"""

from relama.runtime.memory.forecast import forecast
from relama.runtime.memory.limit import Piece, Weights, limited
from relama.runtime.memory.size import memory_limit

__all__ = ["Piece", "Weights", "forecast", "limited", "memory_limit"]
