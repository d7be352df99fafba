"""`python -m fullconv`."""

from fullconv.cli import main

if __name__ == "__main__":
    main()
