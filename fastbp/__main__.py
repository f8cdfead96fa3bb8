"""python -m fastbp: the command, when the `fastbp` script is not on the path."""

import sys

from fastbp._command.main import main

if __name__ == "__main__":
    sys.exit(main())
