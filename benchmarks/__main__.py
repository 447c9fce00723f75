"""``python -m benchmarks``: every benchmark, into ``build/``."""

from __future__ import annotations

import sys

from benchmarks import drain, wake

if __name__ == "__main__":
    sys.exit(drain.main() or wake.main())
