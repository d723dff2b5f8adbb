"""What can go wrong while reporting."""


class ReportError(Exception):
    """A report could not be made; the message says what failed, where, and what to do, in one line."""

    exit_code = 1


class ReportRequestError(ReportError):
    """The request itself cannot be met: an unknown format or chart, documents that do not go together."""

    exit_code = 2
