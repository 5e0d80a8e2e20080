"""`gbn`, also as `python -m gbnlib`: heeds signals and misses packages before it imports any."""

import sys

from gbnlib import signals
from gbnlib.lazy import without_suite


def main() -> None:
    """Run the command line; where it lacks a package, say in one line what to install."""
    signals.heed()
    try:
        from gbnlib import cli

        cli.main()
    except KeyboardInterrupt:
        print(signals.stopped_line(), file=sys.stderr)
        sys.exit(signals.STOPPED)
    except ModuleNotFoundError as error:
        if (told := without_suite(error)) is error:
            raise
        print(f"gbn: {told}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
