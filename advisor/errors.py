"""The advisor's root errors. A message is one line: what failed, where, and what to do next."""


class AdvisorError(Exception):
    """Something failed; ``exit_code`` follows the command contract."""

    exit_code = 1


class BadRequestError(AdvisorError):
    """The question itself is wrong: an unknown name, an absurd workload, contradictory limits."""

    exit_code = 2


class NothingFitsError(AdvisorError):
    """The question was understood and the answer is no.

    ``document`` is the answer in full where there is one: what was tried, and why each was refused.
    """

    exit_code = 3

    def __init__(self, message: str, *, document: object | None = None) -> None:
        super().__init__(message)
        self.document = document
