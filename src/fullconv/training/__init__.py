"""Training a classifier on labelled images: a plain loop that can be stopped and goes on."""
