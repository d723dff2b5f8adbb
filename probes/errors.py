"""The probes' error: one line that says what could not be read or measured."""


class ProbeError(Exception):
    """Something on this machine could not be read or measured; ``fix`` is a command that mends it."""

    def __init__(self, message: str, fix: str | None = None) -> None:
        super().__init__(message)
        self.fix = fix
