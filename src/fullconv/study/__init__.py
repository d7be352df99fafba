"""Variants of a network, trained side by side on labelled images and compared."""
