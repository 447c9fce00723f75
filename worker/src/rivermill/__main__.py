"""``python -m rivermill``."""

import sys

from rivermill.cli import main

if __name__ == "__main__":
    sys.exit(main())
