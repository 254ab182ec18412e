"""``python -m segzs`` is ``segzs``."""

import sys

from segzs.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
