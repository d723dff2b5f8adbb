"""The advisor's root errors. A message is one line: what failed, where, and what to do next."""


class AdvisorError(Exception):
    """Something failed; ``exit_code`` follows the command contract."""

    exit_code = 1


class BadRequestError(AdvisorError):
    """The question itself is wrong: an unknown name, an absurd workload, contradictory limits."""

    exit_code = 2


class NothingFitsError(AdvisorError):
    """The question was understood and the answer is no."""

    exit_code = 3
