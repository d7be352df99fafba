"""What going fully convolutional costs, measured on the network at hand."""
