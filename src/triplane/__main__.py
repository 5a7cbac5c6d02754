"""``python -m triplane`` is the command ``triplane``."""

import sys

from triplane.cli import main

if __name__ == "__main__":
    sys.exit(main())
