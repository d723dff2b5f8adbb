"""Quality on a text: scored on real weights, compared token by token."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from validation_cases import TEXT, candidate_of, setting_of, toy_model

from advisor.engines.fake import FakeEngine, Speeds
from advisor.errors import AdvisorError
from advisor.types import ValidationStatus
from advisor.validation import text_quality
from advisor.validation.validate import validate_one


@pytest.fixture(scope="module")
def model():
    return toy_model()


def scored(model, tmp_path: Path, local_file: str, loss: float, quant_bytes: int = 100):
    engine = FakeEngine(speeds=lambda _: Speeds(loss_per_word=loss))
    candidate = candidate_of(model, local_path=local_file, total_bytes=quant_bytes)
    return validate_one(candidate, setting_of(tmp_path, engine, text=TEXT))


def test_a_text_is_scored_on_real_weights(model, tmp_path: Path, local_file):
    quality = scored(model, tmp_path, local_file, 2.0).quality
    assert quality.text_name == "mine"
    assert quality.tokens_count == 80
    assert quality.perplexity == pytest.approx(math.exp(2.0))
    assert quality.bits_per_byte == pytest.approx(2.0 * 80 / math.log(2) / len(TEXT.content))
    assert validate_one(candidate_of(model), setting_of(tmp_path, FakeEngine(), text=TEXT)).quality is None


def test_a_text_that_cannot_be_scored_costs_only_the_score(model, tmp_path: Path, local_file):
    engine = FakeEngine(decodes=False)
    candidate = candidate_of(replace(model, capabilities=frozenset({"embedding"})), local_path=local_file)
    record = validate_one(candidate, setting_of(tmp_path, engine, text=TEXT))
    assert record.status is ValidationStatus.OK
    assert "an embedding model foretells no text" in record.notes


def test_the_coarser_quantisation_is_compared_with_the_finer_token_by_token(model, tmp_path: Path, local_file):
    fine, coarse = scored(model, tmp_path, local_file, 2.0, 200), scored(model, tmp_path, local_file, 2.1, 100)
    (delta,) = text_quality.deltas([coarse, fine])
    assert delta.change_frac == pytest.approx(math.expm1(0.1))
    assert delta.interval_frac.low == pytest.approx(delta.change_frac)
    assert delta.tokens_count == 80
    other = replace(coarse, quality=replace(coarse.quality, text_id="another"))
    assert text_quality.deltas([other, fine]) == ()


def test_the_bundled_text_is_long_enough_and_the_users_is_bounded(tmp_path: Path):
    assert len(text_quality.bundled_text().split()) > 800
    own = tmp_path / "own.txt"
    own.write_bytes("ä".encode() * 3_000_000)
    assert len(text_quality.read_text(str(own))) == 2 * 1024**2
    for bad, said in ((b"", "holds no text"), (b"\xff\xfe\x00", "not UTF-8")):
        own.write_bytes(bad)
        with pytest.raises(AdvisorError, match=said):
            text_quality.read_text(str(own))
    with pytest.raises(AdvisorError, match="cannot be read"):
        text_quality.read_text(str(tmp_path / "none.txt"))
