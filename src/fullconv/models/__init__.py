"""From a MODEL word of the command line to a loaded classifier: `load_model`."""

from fullconv.models.classifier import Classifier
from fullconv.models.forms import load_model

__all__ = ["Classifier", "load_model"]
