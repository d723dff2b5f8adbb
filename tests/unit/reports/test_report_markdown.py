import pytest
import report_examples as examples
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reports import markdown
from reports.text import plain

_PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
_ALLOWED_INLINE = {"text", "softbreak", "strong_open", "strong_close", "code_inline", "text_special"}


def inline_tokens(text: str):
    for token in _PARSER.parse(text):
        yield from token.children or ()


@pytest.mark.parametrize("name", examples.HOSTILE_NAMES)
def test_a_hostile_name_reads_as_itself(name):
    rendered = _PARSER.render(f"x {markdown.escaped(plain(name))}")
    text = "".join(token.content for token in inline_tokens(f"x {markdown.escaped(plain(name))}"))
    assert text.replace("\u2060", "") == f"x {plain(name)}"
    assert "<script" not in rendered
    assert "<a " not in rendered


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=60))
@example("#")
@example("###### ")
def test_any_text_in_a_list_stays_one_text(text):
    shown = plain(text)
    tokens = _PARSER.parse(f"- {markdown.escaped(shown)}")
    kinds = [token.type for token in tokens]
    assert kinds.count("list_item_open") == 1
    assert not {"heading_open", "fence", "code_block", "hr", "blockquote_open", "html_block", "table_open"} & set(kinds)
    inner = [child for token in tokens for child in token.children or ()]
    assert {child.type for child in inner} <= {"text", "text_special"}
    assert "".join(child.content for child in inner).replace("\u2060", "") == shown.replace("\u2060", "")


def test_the_whole_hostile_document_holds_only_our_markup():
    text = markdown.render((examples.hostile_recommendation(),)).decode()
    for token in _PARSER.parse(text):
        if token.type == "html_block":
            assert token.content.startswith(("<details>", "</details>", "<sub>")), token.content
    assert {token.type for token in inline_tokens(text)} <= _ALLOWED_INLINE | {"html_inline"}


def test_mentions_and_issue_numbers_are_defused():
    assert "@everyone" not in markdown.escaped("@everyone")
    assert "#123" not in markdown.escaped("see #123")


def test_tables_parse_with_all_their_rows():
    text = markdown.render(examples.everything()).decode()
    tokens = _PARSER.parse(text)
    assert sum(token.type == "table_open" for token in tokens) >= 8
    assert sum(token.type == "tr_open" for token in tokens) > 60


def test_the_command_is_a_code_block():
    text = markdown.render((examples.recommendation(),)).decode()
    fences = [token for token in _PARSER.parse(text) if token.type == "fence"]
    assert fences[0].content.strip() == examples.recommendation().ranked[0].command


def test_a_command_with_backticks_cannot_close_its_block():
    fenced = "\n".join(markdown._command(markdown.Command("echo ```\n```")))
    assert [token.type for token in _PARSER.parse(fenced)] == ["fence"]


def test_the_same_documents_give_the_same_bytes():
    assert markdown.render(examples.everything()) == markdown.render(examples.everything())


def test_a_cut_table_says_how_much_is_missing():
    assert "… and 15 more." in markdown.render((examples.large_recommendation(40),)).decode()
