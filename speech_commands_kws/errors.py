class KwsError(Exception):
    """A mistake the user can correct.

    The message is one line that says what was expected, what came and what to do. Commands print it without a
    traceback and exit with status 1.
    """


class ReportedError(KwsError):
    """The end of a command that has printed each mistake as it met it and went on; nothing is left to print."""
