"""How architectures are evaluated: named as the table of architectures names them."""

import pytest

from catalog.architectures import evaluation
from catalog.architectures.table import ARCHITECTURES


@pytest.mark.parametrize("names", [evaluation._WHOLE_LAST_FFN, evaluation._GELU])
def test_only_architectures_of_the_table_are_named(names):
    assert names <= set(ARCHITECTURES)


def test_encoders_and_builders_of_hidden_states_keep_all_tokens_to_the_end():
    assert evaluation.works_through_last_ffn("gpt-oss")
    assert evaluation.works_through_last_ffn("eurobert")
    assert not evaluation.works_through_last_ffn("llama")
    assert not evaluation.works_through_last_ffn(None)
