"""The words for what becomes of pools and of the head."""

POOLS = ("conv", "strided", "convpool", "keep")
"""What becomes of pools; in Springenberg et al. 2015 (section 3, table 2): All-CNN, Strided-CNN,
ConvPool-CNN, and the base network."""

HEADS = ("gap", "exact")
"""What becomes of the head: a 1×1 convolution and the mean over the map, or the same as
convolutions."""
