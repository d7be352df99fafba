"""How often a network is right on labelled images: `accuracy`."""

from fullconv.evaluate.accuracy.measure import accuracy
from fullconv.evaluate.accuracy.table import Accuracies, Problem, Row

__all__ = ["Accuracies", "Problem", "Row", "accuracy"]
