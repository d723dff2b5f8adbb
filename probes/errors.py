"""The probes' errors: one line that says what could not be read or measured."""


class ProbeError(Exception):
    """Something on this machine could not be read or measured; ``fix`` is a command that mends it."""

    def __init__(self, message: str, fix: str | None = None) -> None:
        super().__init__(message)
        self.fix = fix


class NotSupportedError(ProbeError):
    """The device cannot do what a probe asks of it: a waiver found out while running."""


class StuckError(ProbeError):
    """A driver does not come back; nothing more can be asked of its device."""
