"""CSV files as DuckDB reads them; of other encodings and of mixed line ends there are copies, and
where lines before the header are left out."""

import gzip
import re

from fastbp._table.faults import DataError

SAMPLE_BYTES = 2**18
SEARCHED_BYTES = 2**20  # at a time
GZIP = b"\x1f\x8b"
NEITHER = "is neither a CSV file in UTF-8 nor an NPZ, Parquet or JSON file"
WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16


class Text:
    """A file of text.

    Attributes
    ----------
    path : str
        The file itself, or a copy of it.
    compression : str
        "gzip" or "none".
    sample : str
        Its beginning, with line ends of one kind.
    whole : bool
        Whether `sample` is all of it.
    """

    def __init__(self, path, encoding, folder, skip=0):
        self.path, self.encoding, self._folder, self._copied = path, encoding, folder, False
        self._held, self._skip = {}, skip
        with open(path, "rb") as file:
            self.compression = "gzip" if file.read(2) == GZIP else "none"
        try:
            with self._opened() as file:
                head = file.read(SAMPLE_BYTES)
        except EOFError as error:
            raise DataError(f"is not a gzip file that can be read: {error}") from None
        if head[:2] in WIDE_MARKS:
            self.encoding = "utf-16"
        self.whole = len(head) < SAMPLE_BYTES
        self.sample = self._decoded(head)
        ends = set(re.findall(r"\r\n|\r|\n", self.sample))
        self.sample = self.sample.replace("\r\n", "\n").replace("\r", "\n")
        self.sample = "\n" * skip + "".join(self.sample.splitlines(keepends=True)[skip:])
        if self.encoding != "utf-8" or len(ends) > 1 or skip:
            self.copy()
        elif "\r" in ends and not self.whole:  # a file of an old Mac, or one that goes on otherwise
            self.copy()

    def _opened(self):
        return gzip.open(self.path) if self.compression == "gzip" else open(self.path, "rb")

    def _decoded(self, head):
        """The head as text, up to the end of its last whole line."""
        if not self.whole:
            head = head[:head.rfind(b"\n") + 1 + (self.encoding == "utf-16")] or head
        try:
            text = head.decode("utf-8-sig" if self.encoding == "utf-8" else self.encoding,
                               "strict" if self.whole or b"\n" in head else "ignore")
        except UnicodeDecodeError as error:
            text = "\0" if b"\0" in head else None
            line = head.count(b"\n", 0, error.start) + 1
        if text is None:
            raise DataError(f"{NEITHER}: line {line} is not; save it as UTF-8, or name its "
                            "encoding (--encoding latin-1, or cp1252 of Windows)")
        if "\0" in text:
            raise DataError(NEITHER)
        return text

    def may_hold(self, mark):
        """Whether a byte is in the file behind its first line; a compressed file is not searched,
        for a look at all cells costs less than to read it twice."""
        if self.compression == "gzip":
            return True
        if mark not in self._held:
            with open(self.path, "rb") as file:
                file.readline(SAMPLE_BYTES)
                self._held[mark] = any(mark in part for part in iter(
                    lambda: file.read(SEARCHED_BYTES), b""))
        return self._held[mark]

    def copy(self):
        """Put a copy in UTF-8 with one kind of line ends in the place of the file.

        Returns
        -------
        bool
            Whether there was none yet.
        """
        if self._copied:
            return False
        encoding = "utf-8-sig" if self.encoding == "utf-8" else self.encoding
        try:
            self.path = self._folder.written(self._parts(encoding))
        except (EOFError, UnicodeError) as error:
            raise DataError(f"cannot be read as text: {error}") from None
        self.compression, self._copied = "none", True
        return True

    def _parts(self, encoding):
        opened = gzip.open if self.compression == "gzip" else open
        with opened(self.path, "rt", encoding=encoding, errors="surrogateescape") as source:
            for _ in range(self._skip):  # empty lines keep the numbers of the others
                source.readline()
                yield "\n"
            while part := source.read(2**20):
                yield part
