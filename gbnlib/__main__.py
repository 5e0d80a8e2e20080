"""`python -m gbnlib`: the same as `gbn`."""

from gbnlib.cli import main

if __name__ == "__main__":
    main()
