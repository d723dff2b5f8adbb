"""The catalog's errors: one root, each message one line that says what to do next."""

#: Where to look for a name that is like none.
_LOOK_UP = {
    "model": "; search it with: advisor catalog list WORD",
    "chip": "; name a chip as its maker does, e.g. rtx 4090 or m4 max 64GiB",
}


class CatalogError(Exception):
    """Anything wrong with the catalog's data or with a request to it."""


class BadHardwareError(CatalogError):
    """A machine's description that cannot be read, or that nobody sells."""

    exit_code = 2


class UnknownNameError(CatalogError, LookupError):
    """A name that fits nothing in the catalog, or more than one thing.

    ``candidates`` holds what the text fits equally well; it is empty where it fits nothing.
    """

    exit_code = 2

    def __init__(
        self, kind: str, text: str, *, nearest: tuple[str, ...] = (), candidates: tuple[str, ...] = ()
    ) -> None:
        self.kind = kind
        self.text = text
        self.nearest = nearest
        self.candidates = candidates
        super().__init__(self._message())

    def _message(self) -> str:
        shown = self.text if len(self.text) <= 80 else self.text[:77] + "..."
        if self.candidates:
            return f"{self.kind} {shown!r} is ambiguous; name one of: {', '.join(self.candidates)}"
        advice = f"; nearest: {', '.join(self.nearest)}" if self.nearest else _LOOK_UP.get(self.kind, "")
        return f"{self.kind} {shown!r} is not in the catalog{advice}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_unknown_name, (self.kind, self.text, self.nearest, self.candidates)


def _rebuild_unknown_name(
    kind: str, text: str, nearest: tuple[str, ...], candidates: tuple[str, ...]
) -> UnknownNameError:
    return UnknownNameError(kind, text, nearest=nearest, candidates=candidates)
