"""Where a class is: score maps, fused on the pixels of their image, and what they show."""
