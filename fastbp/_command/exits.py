"""The exit codes of the command beside 0, 1 and 2."""

INTERRUPTED = 130  # 128 + SIGINT, what a shell reports
READER_GONE = 141  # 128 + SIGPIPE
