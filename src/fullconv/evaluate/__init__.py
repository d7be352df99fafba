"""What is read out of score maps, and the pictures drawn of them."""
