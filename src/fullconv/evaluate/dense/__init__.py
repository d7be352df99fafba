"""What an image as a whole is: dense evaluation, crops and both."""
