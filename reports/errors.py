"""What can go wrong while reporting."""


class ReportError(Exception):
    """A report could not be made; the message says what failed, where, and what to do, in one line."""
