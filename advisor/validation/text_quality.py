"""What quantisation costs, on a text: perplexity, and its change between quantisations of one model.

Two quantisations are compared token by token on the same text, which cancels most of what makes one text
harder than another: a few hundred tokens tell a loss of one per cent. Pure but for reading the text.
"""

import math
import statistics
from collections.abc import Sequence
from importlib import resources

from advisor.engines.base import ScoredText
from advisor.errors import AdvisorError
from advisor.types import FractionInterval, QualityDelta, TextQuality, ValidationRecord
from catalog.files import read_file
from catalog.units import Z_80

LOSSES = "quality_losses"  # of the scored tokens, in a record's samples
BUNDLED_NAME = "bundled text"
_MAX_TEXT_BYTES = 4 * 1024**2
_MIN_TOKENS = 16


def bundled_text() -> str:
    """The text that comes along: written for this purpose, so no model has learnt it by heart; public domain."""
    return resources.files("advisor").joinpath("data", "quality_text.txt").read_text(encoding="utf-8")


def read_text(path: str) -> str:
    """The user's own text, bounded.

    Raises:
        AdvisorError: if it cannot be read, is empty or is no UTF-8 text.
    """
    try:
        raw = read_file(path, _MAX_TEXT_BYTES)
    except OSError as error:
        raise AdvisorError(f"{path}: cannot be read ({error.strerror or error}); give a text file") from None
    try:
        # a cut in the middle of a character loses that character only
        text = raw[:_MAX_TEXT_BYTES].decode("utf-8", "strict" if len(raw) <= _MAX_TEXT_BYTES else "ignore")
    except UnicodeDecodeError:
        raise AdvisorError(f"{path}: not UTF-8 text; convert it, or leave --text out for the bundled one") from None
    if not text.strip():
        raise AdvisorError(f"{path}: holds no text; give a longer one, or leave --text out for the bundled one")
    return text


def summarize(scored: ScoredText, text_name: str) -> TextQuality:
    """Perplexity and bits per byte of scored tokens, with the standard error of the mean loss."""
    losses = scored.losses
    mean = statistics.fmean(losses)
    sigma = statistics.stdev(losses) / math.sqrt(len(losses)) if len(losses) > 1 else math.inf
    return TextQuality(
        text_name=text_name,
        text_id=scored.text_id,
        tokens_count=len(losses),
        perplexity=math.exp(min(mean, 700.0)),
        perplexity_sigma_frac=min(sigma, 1e9),
        bits_per_byte=sum(losses) / math.log(2.0) / max(1, scored.bytes_count),
    )


def deltas(records: Sequence[ValidationRecord]) -> tuple[QualityDelta, ...]:
    """Each quantisation against the finest one of the same model that was scored on the same text.

    The finest is the one whose weights take most bytes.
    """
    groups: dict[tuple[str, str], list[ValidationRecord]] = {}
    for record in records:
        if record.quality is not None:
            groups.setdefault((record.estimate.model_id, record.quality.text_id), []).append(record)
    found = []
    for group in groups.values():
        finest, *coarser = sorted(group, key=_weights_bytes, reverse=True)
        found += [delta for record in coarser if (delta := compare(record, finest)) is not None]
    return tuple(found)


def _weights_bytes(record: ValidationRecord) -> int:
    return sum(device.weights_bytes - device.repack_bytes for device in record.estimate.memory.devices)


def compare(record: ValidationRecord, finest: ValidationRecord) -> QualityDelta | None:
    """The change of perplexity and its 80 % interval; None if too few tokens were scored in both."""
    pairs = list(zip(record.samples.get(LOSSES, ()), finest.samples.get(LOSSES, ()), strict=False))
    if len(pairs) < _MIN_TOKENS:
        return None
    differences = [coarse - fine for coarse, fine in pairs]
    mean = statistics.fmean(differences)
    margin = Z_80 * statistics.stdev(differences) / math.sqrt(len(differences))
    return QualityDelta(
        model_id=record.estimate.model_id,
        quant_id=record.estimate.quant_id,
        baseline_quant_id=finest.estimate.quant_id,
        tokens_count=len(pairs),
        change_frac=math.expm1(mean),
        interval_frac=FractionInterval(low=math.expm1(mean - margin), high=math.expm1(mean + margin)),
    )
