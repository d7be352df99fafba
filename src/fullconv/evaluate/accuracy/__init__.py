"""How often a network is right on labelled images: `accuracy`."""

from fullconv.evaluate.accuracy.measure import accuracy
from fullconv.evaluate.accuracy.table import Accuracies, NothingEvaluated, Problem, Row

__all__ = ["Accuracies", "NothingEvaluated", "Problem", "Row", "accuracy"]
