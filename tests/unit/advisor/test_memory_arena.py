"""The compute buffer's address space."""

from advisor.memory.arena import NOTHING, Arena


def test_tensors_follow_each_other():
    arena = Arena()
    assert arena.take(10) == (0, 10)
    assert arena.take(5) == (10, 5)
    assert arena.peak == 15


def test_a_freed_place_is_taken_again():
    arena = Arena()
    first, _ = arena.take(10), arena.take(5)
    arena.give(first)
    assert arena.take(10) == (0, 10)
    assert arena.peak == 15


def test_the_smallest_gap_that_fits_is_taken():
    arena = Arena()
    wide, _, narrow, _ = arena.take(20), arena.take(1), arena.take(8), arena.take(1)
    arena.give(wide, narrow)
    assert arena.take(7) == (21, 7)


def test_a_gap_too_small_is_left_and_the_end_grows():
    arena = Arena()
    first, _ = arena.take(10), arena.take(5)
    arena.give(first)
    assert arena.take(11) == (15, 11)
    assert arena.peak == 26


def test_neighbours_merge_on_both_sides():
    arena = Arena()
    blocks = [arena.take(4) for _ in range(4)]
    arena.give(blocks[0], blocks[2], blocks[1])
    assert arena.take(12) == (0, 12)


def test_freeing_everything_leaves_one_gap():
    arena = Arena()
    blocks = [arena.take(size) for size in (3, 5, 7)]
    arena.give(*blocks)
    assert arena.take(100) == (0, 100)


def test_nothing_takes_no_place():
    arena = Arena()
    assert arena.take(0) == NOTHING
    arena.give(NOTHING)
    assert arena.take(4) == (0, 4)
