"""Bundles hold what was measured and nothing that tells who measured it."""

import pytest

from advisor.bundle import REMOVED, BundleError, documents_of, make_bundle, scrub, scrub_text


@pytest.mark.parametrize(
    "text",
    [
        "cannot open /home/alice/models/x.gguf: no such file",
        "C:\\Users\\alice\\x.gguf is damaged",
        "\\\\server\\share\\alice",
        "loaded ~/alice/x",
        "http://alice.example.org:8080/v1 refused",
        "mail alice@example.org",
        "host 192.168.1.20 alice",
        "card 00:1a:2b:3c:4d:5e alice",
        "on Alice's box: alice.gguf",
    ],
)
def test_paths_addresses_and_names_are_removed(text: str) -> None:
    cleaned = scrub_text(text, ["alice", "alicebox"])
    assert REMOVED in cleaned
    for secret in ("alice", "example.org", "192.168", "1a:2b", "server\\share"):
        assert secret not in cleaned.lower()


@pytest.mark.parametrize(
    "text",
    [
        "Qwen/Qwen2.5-0.5B-Instruct",
        "llama-cpp-python 0.3.36; llama.cpp b6789; AVX512 = 1 | FMA = 1",
        "AMD EPYC 9B45, 24 GiB",
        "2026-11-22T17:00:00Z",
        "decode_tokens_per_s 12.5 tok/s",
        "6.1.0-18-amd64",
    ],
)
def test_what_was_measured_stays(text: str) -> None:
    assert scrub_text(text, ["alice"]) == text


def test_private_fields_go_whatever_they_hold() -> None:
    cleaned = scrub(
        {
            "answer": "Dear diary",
            "local_path": "x.gguf",
            "command": "llama-server -m x",
            "records": [{"properties": {"serial_number": "S3CR3T", "uuid": "GPU-1", "pci": "10de:2684"}}],
        }
    )
    assert cleaned == {
        "answer": None,
        "local_path": None,
        "command": REMOVED,
        "records": [{"properties": {"pci": "10de:2684"}}],
    }


def test_short_names_do_not_tear_words_apart() -> None:
    assert scrub_text("a quant", ["a", "an"]) == "a quant"
    assert scrub_text("rooted root", ["root"]) == f"rooted {REMOVED}"


def test_a_bundle_gives_its_documents_back() -> None:
    bundle = make_bundle([{"kind": "run", "x": 1}], created_at="2026-01-01T00:00:00Z", names=[])
    assert documents_of(bundle, "b") == [{"kind": "run", "x": 1}]


@pytest.mark.parametrize(
    ("bundle", "words"),
    [
        ([], "not a bundle"),
        ({"kind": "run"}, "not a bundle"),
        ({"kind": "bundle", "schema_version": 9}, "upgrade"),
        ({"kind": "bundle", "schema_version": 1, "documents": {}}, "must be a list"),
    ],
)
def test_what_is_no_bundle_is_named(bundle: object, words: str) -> None:
    with pytest.raises(BundleError, match=words):
        documents_of(bundle, "b.json")


def test_the_name_of_the_users_text_goes_and_its_score_stays() -> None:
    quality = {"text_name": "letter to my sister.txt", "text_id": "0123abcd", "perplexity": 12.5}
    assert scrub({"quality": quality}) == {"quality": quality | {"text_name": "[removed]"}}
