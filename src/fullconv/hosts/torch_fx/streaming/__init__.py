"""An FCN that takes its image in strips of rows, and gives the map that one pass would give."""
