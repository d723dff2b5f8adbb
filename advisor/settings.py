"""Load-time settings that a user may fix; what is left open is compared (``advisor.tuning``)."""

from dataclasses import dataclass, replace

from advisor.errors import BadRequestError
from advisor.types import Deployment

_MOST_THREADS_COUNT = 4096
_MOST_BATCH_TOKENS = 1 << 20
_OPTIONS = {
    "threads_count": "--threads",
    "batch_tokens": "--batch",
    "ubatch_tokens": "--ubatch",
    "flash_attention": "--flash-attention",
    "mmap": "--mmap/--no-mmap",
    "op_offload": "--op-offload/--no-op-offload",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """What the user fixed; None leaves it to the advisor."""

    threads_count: int | None = None
    batch_tokens: int | None = None
    ubatch_tokens: int | None = None
    flash_attention: bool | None = None
    mmap: bool | None = None
    op_offload: bool | None = None

    def check(self) -> None:
        """Refuse settings that no engine takes.

        Raises:
            BadRequestError: if a number is out of its range, or a micro-batch larger than its batch.
        """
        for option, value, most in (
            ("--threads", self.threads_count, _MOST_THREADS_COUNT),
            ("--batch", self.batch_tokens, _MOST_BATCH_TOKENS),
            ("--ubatch", self.ubatch_tokens, _MOST_BATCH_TOKENS),
        ):
            if value is not None and not 1 <= value <= most:
                raise BadRequestError(f"{option} {value} is out of range; give 1 to {most}")
        if self.batch_tokens and self.ubatch_tokens and self.ubatch_tokens > self.batch_tokens:
            raise BadRequestError(
                f"--ubatch {self.ubatch_tokens} is larger than --batch {self.batch_tokens}; "
                f"give --batch {self.ubatch_tokens} or more"
            )

    def options(self) -> tuple[str, ...]:
        """The options of the command line that were given."""
        return tuple(option for name, option in _OPTIONS.items() if getattr(self, name) is not None)

    def applied(self, base: Deployment) -> Deployment:
        """A deployment with what was fixed; a batch holds its micro-batch."""
        batch = self.batch_tokens or max(base.batch_tokens, self.ubatch_tokens or 0)
        return replace(
            base,
            threads_count=self.threads_count or base.threads_count,
            batch_tokens=batch,
            ubatch_tokens=min(batch, self.ubatch_tokens or base.ubatch_tokens),
            flash_attention=base.flash_attention if self.flash_attention is None else self.flash_attention,
            mmap=base.mmap if self.mmap is None else self.mmap,
            op_offload=base.op_offload if self.op_offload is None else self.op_offload,
        )


NOTHING_FIXED = LoadSettings()
