"""The coverage page: which models of torchvision and timm convert, measured one by one."""
