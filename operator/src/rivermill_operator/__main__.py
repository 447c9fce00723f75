"""``python -m rivermill_operator``."""

import sys

from rivermill_operator.main import main

if __name__ == "__main__":
    sys.exit(main())
