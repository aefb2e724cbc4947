"""A hundred sentences with an obvious sentiment, in the manner of SST-2, and a third kind."""

from __future__ import annotations

_SUBJECTS = (
    *("The film", "The acting", "The story", "The music", "The dialogue"),
    *("The ending", "The camera work", "The cast", "The first half", "The sequel"),
)
_PREDICATES = {
    "positive": (
        "is a wonderful, moving success.",
        "is simply brilliant and a joy from start to finish.",
        "is superb, the best of the whole year.",
        "is charming, clever and great fun.",
    ),
    "negative": (
        "is a terrible, boring failure.",
        "is simply awful and a waste of time.",
        "is horrible, the worst of the whole year.",
    ),
    "neutral": (
        "is discussed in the second chapter of the book.",
        "was recorded in London in March.",
        "is listed on page four of the programme.",
    ),
}

LABELS = ("positive", "negative", "neutral")


def sentences() -> list[tuple[int, str, str]]:
    """Rows (id, sentence, sentiment)."""
    rows = [
        (f"{subject} {predicate}", sentiment)
        for sentiment, predicates in _PREDICATES.items()
        for predicate in predicates
        for subject in _SUBJECTS
    ]
    return [(i, sentence, sentiment) for i, (sentence, sentiment) in enumerate(rows)]
