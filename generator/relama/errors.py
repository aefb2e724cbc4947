"""What can go wrong, in words a user can act on.

Every error that a user can cause is a `RelamaError`. Its text is one clear
sentence (what was wrong, where, what would be right); the command line prints
it without a traceback and exits with 1.
"""


class RelamaError(Exception):
    """Base class of all errors that are reported as one sentence."""


class CheckpointError(RelamaError):
    """A checkpoint cannot be read: a missing, truncated or inconsistent file."""


class UnsupportedError(RelamaError):
    """The checkpoint is sound, but asks for something relama does not do."""


class GraphError(RelamaError):
    """Operators whose shapes do not fit together."""


class ProjectError(RelamaError):
    """The project directory is not one of relama's, or is not usable."""


class InputError(RelamaError):
    """A prompt or a setting is out of range."""
