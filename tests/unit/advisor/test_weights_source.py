"""Which weights are run: a file that is here, a twin, or a few of its layers."""

from dataclasses import replace
from pathlib import Path

import pytest
from validation_cases import ROOM, candidate_of, toy_model

from advisor.errors import AdvisorError
from advisor.validation import weights_source
from advisor.validation.weights_source import REAL, TRUNCATED, TWIN, choose_source
from catalog.weights import weigh


@pytest.fixture(scope="module")
def model():
    return toy_model()


def test_the_file_that_is_here_is_run(model):
    assert choose_source(candidate_of(model, local_path="x.gguf"), ROOM).weights == REAL


def test_a_twin_stands_in_for_a_file_that_is_not(model):
    source = choose_source(candidate_of(model), ROOM)
    assert (source.weights, source.stand_ins) == (TWIN, None)
    assert choose_source(candidate_of(model, local_path="x.gguf"), ROOM, force_twin=True).weights == TWIN


@pytest.mark.parametrize(
    ("room", "total_bytes", "why"),
    [
        (replace(ROOM, memory_bytes=10**6), 10**8, "available"),
        (replace(ROOM, budget_s=0.001), 10**6, "more disk or time"),
        (replace(ROOM, disk_bytes=None), 10**6, "more disk or time"),
    ],
)
def test_a_model_beyond_the_machine_is_run_in_part(model, room, total_bytes, why):
    if room.disk_bytes is None:  # half of it is not enough for the whole file
        room = replace(room, disk_bytes=int(1.9 * weigh(model, "Q8_0").file_bytes))
    source = choose_source(candidate_of(model, total_bytes=total_bytes), room)
    assert source.weights == TRUNCATED
    assert len(source.stand_ins.layers) == 2
    assert any(why in note for note in source.notes)


def test_a_real_file_too_large_for_memory_is_not_loaded(model):
    room = replace(ROOM, memory_bytes=10**6)
    assert choose_source(candidate_of(model, local_path="x", total_bytes=10**8), room).weights == TRUNCATED


def test_no_room_at_all_says_what_to_free(model):
    with pytest.raises(AdvisorError, match="Free some disk or memory") as caught:
        choose_source(candidate_of(model), replace(ROOM, disk_bytes=1000))
    assert "\n" not in str(caught.value)


def test_room_is_measured_where_the_folder_will_be(tmp_path: Path):
    room = weights_source.measure_room(tmp_path / "not" / "yet", 5.0)
    assert room.disk_bytes > 0
    assert room.memory_bytes > 0
    assert room.budget_s == 5.0
