from reports import phrases


def test_a_long_list_of_names_is_cut_and_counted() -> None:
    assert phrases.listed(("a", "b", "c", "d")) == "a, b, c, d"
    assert phrases.listed(("a", "b", "c", "d", "e", "f")) == "a, b, c, d and 2 more"
