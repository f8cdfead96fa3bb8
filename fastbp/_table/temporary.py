"""Copies of files and samples of them, in a folder of the system's that goes with the table."""

import contextlib
import os
import shutil
import tempfile
import weakref


class Folder:
    """A folder of temporary files, which goes with this object."""

    def __init__(self):
        self._path = tempfile.mkdtemp(prefix="fastbp-")
        weakref.finalize(self, shutil.rmtree, self._path, ignore_errors=True)

    def _new(self, suffix):
        return os.path.join(self._path, f"{len(os.listdir(self._path))}{suffix}")

    def database(self):
        """The path of a database that is not there yet."""
        return self._new(".duckdb")

    def linked(self, path, suffix):
        """A link to the file, of a plain name; a copy where links are not allowed (Windows)."""
        to = self._new(suffix)
        try:
            os.symlink(path, to)
        except OSError:
            return self.copied(path, suffix)
        return to

    def copied(self, path, suffix):
        """A copy of the file, which may be a pipe."""
        to = self._new(suffix)
        with open(path, "rb") as source, self._named(), open(to, "wb") as copy:
            shutil.copyfileobj(source, copy)
        return to

    def written(self, parts):
        """A file of text in UTF-8 from an iterable of its parts; bytes that are no text stay."""
        to = self._new(".csv")
        with self._named(), open(to, "w", encoding="utf-8", errors="surrogateescape",
                                 newline="\n") as file:
            file.writelines(parts)
        return to

    @contextlib.contextmanager
    def _named(self):
        """Say of an OSError that it is of a temporary file, not of the one that is read."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, f"its copy in {os.path.dirname(self._path)} (TMPDIR) cannot "
                          f"be written: {error.strerror or error}") from None
