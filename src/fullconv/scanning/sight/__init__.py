"""What cells look at: px that could not be read, px without data, and what a mask leaves out."""
