"""Scores for other files: every event, in the files' order and number."""

from fivesigma.predict.score_files import FileScores, Predicted, predict_study
from fivesigma.predict.scorer import ArtifactScorer, Identity, RunScorer, Scorer, load_scorer, score_events
from fivesigma.predict.threads import Threads

__all__ = [
    "ArtifactScorer",
    "FileScores",
    "Identity",
    "Predicted",
    "RunScorer",
    "Scorer",
    "Threads",
    "load_scorer",
    "predict_study",
    "score_events",
]
