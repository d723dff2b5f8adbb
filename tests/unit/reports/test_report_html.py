import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import report_examples as examples

from advisor import codec
from reports import html, rows


class Reader(HTMLParser):
    """Collects elements, attributes and script contents."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside = False
        self.contents: dict[int, str] = {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = True

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            index = len(self.elements) - 1
            self.contents[index] = self.contents.get(index, "") + data

    def of(self, tag: str):
        return [(i, attributes) for i, (name, attributes) in enumerate(self.elements) if name == tag]


@pytest.fixture(scope="module")
def page() -> str:
    return html.render(examples.everything()).decode()


@pytest.fixture(scope="module")
def hostile() -> str:
    return html.render((examples.hostile_recommendation(),)).decode()


def embedded(text: str, index: int = 0):
    reader = Reader(text)
    found, attributes = next((i, a) for i, a in reader.of("script") if a.get("id") == f"document-{index}")
    content = json.loads(reader.contents[found])
    if attributes.get("data-encoding") == "gzip+base64":
        content = json.loads(gzip.decompress(base64.b64decode(content)))
    return content


def test_the_policy_allows_exactly_our_script_and_style(page):
    reader = Reader(page)
    policy = next(a["content"] for _, a in reader.of("meta") if a.get("http-equiv") == "Content-Security-Policy")
    script = next(reader.contents[i] for i, a in reader.of("script") if "type" not in a)
    style = reader.contents[reader.of("style")[0][0]]
    assert policy.startswith("default-src 'none'")
    for text in (script, style):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("name", ["page", "hostile"])
def test_nothing_is_loaded_and_nothing_runs_inline(name, request):
    reader = Reader(request.getfixturevalue(name))
    for tag, attributes in reader.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "img"}
        for attribute, value in attributes.items():
            assert not attribute.startswith("on"), (tag, attribute)
            assert attribute != "style", tag
            if attribute in {"src", "href", "action", "xlink:href"}:
                assert value.startswith("#"), (tag, value)
    assert "http://" not in re.sub(r"http://x", "", request.getfixturevalue(name).split("<script")[0])


def test_hostile_names_add_no_element(hostile):
    tame = Reader(html.render((examples.recommendation(),)).decode())
    wild = Reader(hostile)
    assert {tag for tag, _ in wild.elements} <= {tag for tag, _ in tame.elements}
    assert len(wild.of("script")) == len(tame.of("script")) == 3
    assert "\u202e" not in hostile


def test_ids_are_unique(page):
    ids = [a["id"] for _, a in Reader(page).elements if a.get("id")]
    assert len(ids) == len(set(ids))


def test_references_point_to_something(page):
    reader = Reader(page)
    ids = {a["id"] for _, a in reader.elements if a.get("id")}
    for tag, attributes in reader.elements:
        for name in ("aria-labelledby", "for", "aria-controls"):
            for target in (attributes.get(name) or "").split():
                assert target in ids, (tag, name, target)
        if tag == "a":
            assert attributes["href"].removeprefix("#") in ids


def test_the_documents_are_embedded_whole(page):
    for index, document in enumerate(examples.everything()):
        loaded = codec.from_mapping(embedded(page, index))
        assert loaded == document


def test_a_large_document_is_packed_and_whole():
    large = examples.large_recommendation(120)
    text = html.render((large,)).decode()
    assert 'data-encoding="gzip+base64"' in text
    assert codec.from_mapping(embedded(text)) == large


def test_hostile_documents_survive_the_round_trip(hostile):
    assert embedded(hostile)["ranked"][0]["display_name"] == examples.HOSTILE_NAMES[0]


def test_the_same_documents_give_the_same_bytes(page):
    assert html.render(examples.everything()).decode() == page


def test_a_page_of_the_whole_shelf_stays_below_its_limit():
    text = html.render((examples.large_recommendation(),))
    assert len(text) <= 1_500_000


def test_numbers_are_those_of_the_other_formats(page):
    lines = rows.render((examples.recommendation(),)).decode().splitlines()
    speed = float(lines[1].split(",")[lines[0].split(",").index("decode_mid_tokens_per_s")])
    assert f"{speed:.1f}" in page


def test_infinite_numbers_become_unknown():
    estimate = examples.recommendation().ranked[0].estimate
    endless = replace(estimate, first_token_s=replace(estimate.first_token_s, mid=float("inf"), high=float("inf")))
    assert embedded(html.render((endless,)).decode())["first_token_s"]["mid"] is None


@pytest.mark.parametrize(
    "document",
    [
        replace(examples.recommendation(), ranked=(), rejected=()),
        replace(examples.profile(), outcomes=(), devices=()),
        replace(examples.validation(), records=()),
    ],
    ids=lambda document: document.kind,
)
def test_empty_documents_render(document):
    assert b"</html>" in html.render((document,))


def test_a_page_without_documents_renders():
    assert b"made from none" in html.render(())
