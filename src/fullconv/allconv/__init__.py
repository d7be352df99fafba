"""All-convolutional variants: pools become convolutions, the FC head a 1×1 conv and an average."""
