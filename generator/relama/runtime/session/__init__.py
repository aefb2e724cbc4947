"""Sessions: the state of sequences, what advances one, and what it is advanced for.

Whoever is outside this room imports from here alone.
"""

from relama.runtime.session.conversation import complete, conversation
from relama.runtime.session.engines import Session, open_engine
from relama.runtime.session.loop import Settings, chosen_settings, generate
from relama.runtime.session.scoring import negative_log_likelihood, perplexity, top_logits
from relama.runtime.session.state import State, scratch

__all__ = [
    "Session",
    "Settings",
    "State",
    "chosen_settings",
    "complete",
    "conversation",
    "generate",
    "negative_log_likelihood",
    "open_engine",
    "perplexity",
    "scratch",
    "top_logits",
]
