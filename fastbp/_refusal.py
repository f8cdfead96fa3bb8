"""An import of fastbp that fails: an ImportError, or one line on stderr if it is the command.

The process is taken for the command by its name, because its modules cannot be imported.
"""

import os
import sys


def refuse(error):
    """Raise the ImportError, or end the command as it ends for any other error."""
    if not _is_command():
        raise error
    print(f"fastbp: error: {error}", file=sys.stderr)
    raise SystemExit(2)


def _is_command():
    """Whether the process is `fastbp …` or `python -m fastbp …`."""
    if sys.argv[:1] == ["-m"]:  # until the module is found; its name is where that stands
        return sys.orig_argv[-len(sys.argv):][:1] == ["fastbp"]
    return os.path.basename((sys.argv or [""])[0]) in ("fastbp", "fastbp.exe")
