"""Images of any size, scored in strips and bands of constant memory."""
