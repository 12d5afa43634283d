"""Cards are written by strangers: whatever they hold, our pages show text and harmless marks."""

from html.parser import HTMLParser

import pytest

from registry import cards

ALLOWED = {
    "h2": {"id"},
    "h3": {"id"},
    "h4": {"id"},
    "h5": {"id"},
    "h6": {"id"},
    "a": {"href", "title", "rel"},
    "ol": {"start"},
}
PLAIN = [
    "p",
    "blockquote",
    "hr",
    "br",
    "pre",
    "code",
    "ul",
    "ol",
    "li",
    "em",
    "strong",
    "s",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
]

# Each is tried alone, inside a heading, a list, a table cell, a quotation and a link text.
HANDLERS = ["onerror", "onload", "onclick", "onmouseover", "onfocus", "ontoggle", "onbegin"]
ELEMENTS = ["img", "svg", "body", "video", "audio", "details", "input", "marquee", "iframe"]
TARGETS = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "java\nscript:alert(1)",
    "\x01javascript:alert(1)",
    "javascript&colon;alert(1)",
    "&#106;avascript:alert(1)",
    "&#x6A&#x61&#x76&#x61script:alert(1)",
    "%6Aavascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "blob:https://example.org/x",
    "//evil.example/x",
    "/\\evil.example",
    "\\\\evil.example\\x",
    "///evil.example",
    "/settings/delete",
    "../../admin",
    "a/../../admin",
]
PAYLOADS = [
    *(f"<{element} {handler}=alert(1) src=x>" for element in ELEMENTS for handler in HANDLERS),
    *(f"[x]({target})" for target in TARGETS),
    *(f"[x](<{target}>)" for target in TARGETS),
    *(f"![x]({target})" for target in TARGETS),
    *(f"<{target}>" for target in TARGETS),
    *(f"[x][r]\n\n[r]: {target}" for target in TARGETS),
    *(f'<a href="{target}">x</a>' for target in TARGETS),
    "<script>alert(1)</script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<!--<script>-->alert(1)<!--</script>-->",
    "<!-- --!><img src=x onerror=alert(1)>",
    "<style>*{background:url(//evil.example)}</style>",
    "<link rel=stylesheet href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href=//evil.example>",
    "<form action=//evil.example><button>go</button></form>",
    "<object data=//evil.example></object><embed src=//evil.example>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href=javascript:alert(1)><text>x</text></a></svg>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<template><script>alert(1)</script></template>",
    "<xmp><script>alert(1)</script></xmp>",
    "</article></main><h1>Log in again</h1>",
    '<p id="main" class="danger" style="position:fixed">x</p>',
    '[x](https://example.org "\\" onmouseover=alert(1) x=\\"")',
    '[x](https://example.org/"onmouseover="alert(1))',
    '![" onerror=alert(1) x="](https://example.org/x.png)',
    "`<script>alert(1)</script>`",
    "```\n<script>alert(1)</script>\n```",
    '```"><script>alert(1)</script>\nx\n```',
    "    <script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\x00<script\x00>alert(1)</script>",
    "<ScRiPt/x>alert(1)</sCrIpT>",
    "<img src=x onerror=alert(1)//",
    "<a href='javascript:alert(1)' target=_blank>x</a>",
    "# <img src=x onerror=alert(1)>",
    '# " onclick=alert(1) id="x',
    "{{ config }} {% raw %} ${7*7}",
]
PLACES = ["{}", "# {}", "- {}", "> {}", "| a |\n|---|\n| {} |", "[{}](https://example.org)"]


class Outline(HTMLParser):
    """What a browser would make of a card: elements with their attributes."""

    def __init__(self, html):
        super().__init__()
        self.elements = []
        self.comments = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_comment(self, data):
        self.comments.append(data)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("files", ["", "/acme/x/resolve/main/"])
def test_no_payload_becomes_more_than_text_and_harmless_marks(place, files):
    assert len(PAYLOADS) > 200
    for payload in PAYLOADS:
        outline = Outline(cards.render(place.format(payload), files=files))
        assert not outline.comments, payload
        for tag, attributes in outline.elements:
            assert tag in ALLOWED or tag in PLAIN, payload
            assert set(attributes) <= ALLOWED.get(tag, set()), payload
            _assert_harmless(attributes, files, payload)


def _assert_harmless(attributes, files, payload):
    if "href" in attributes:
        target = attributes["href"]
        assert target.startswith(("https://example.org", "#user-content-")) or (
            files and target.startswith(files) and ".." not in target
        ), payload
        assert attributes["rel"] == "nofollow noopener noreferrer"
    if "id" in attributes:
        assert attributes["id"].startswith("user-content-"), payload


def test_what_a_card_says_is_kept():
    html = cards.render(
        "# NER\n\nTrained on *WikiANN*, see [the data](https://example.org/data).\n\n"
        "| split | F1 |\n|---|---|\n| test | 0.91 |\n\n```python\nx < 1\n```\n"
    )
    assert '<h3 id="user-content-ner">NER</h3>' in html
    assert "<em>WikiANN</em>" in html
    assert 'href="https://example.org/data"' in html
    assert "<td>0.91</td>" in html
    assert "x &lt; 1" in html


def test_headings_come_below_those_of_the_page_and_keep_their_order():
    assert "<h3" in cards.render("### Only\n")
    html = cards.render("## One\n\n#### Two\n\n###### Three\n")
    assert [f"<h{level}" in html for level in range(1, 7)] == [
        *(False, False, True, False, True, True)
    ]


def test_equal_headings_get_different_identifiers():
    html = cards.render("# Use\n# Use\n# Use\n")
    assert [f'id="user-content-use{n}"' in html for n in ("", "-1", "-2")] == [True] * 3


def test_links_within_a_card_lead_to_its_headings():
    html = cards.render("[how](#how-to-use)\n\n# How to use\n")
    assert 'href="#user-content-how-to-use"' in html
    assert 'id="user-content-how-to-use"' in html


def test_relative_links_lead_to_the_files_of_the_adapter():
    html = cards.render("[licence](./LICENSE.md)", files="/acme/x/resolve/main/")
    assert 'href="/acme/x/resolve/main/LICENSE.md"' in html


def test_an_image_gives_way_to_its_description():
    html = cards.render("![loss <curve>](https://tracker.example/pixel.png)")
    assert "<img" not in html
    assert "tracker" not in html
    assert "[image: loss &lt;curve&gt;]" in html


def test_a_heading_that_repeats_the_page_is_left_out():
    assert "<h3" not in cards.render("# *NER* in German\n\nText.\n", title="NER in German")
    assert "<h3" in cards.render("Text.\n\n# NER\n", title="NER")
    assert cards.render("", title="") == ""


def test_comments_of_card_templates_are_left_out():
    assert "hint" not in cards.render("a <!-- hint\n\nhint --> b")
    assert "&lt;!--" in cards.render("a <!-- never closed")


def test_a_very_long_card_is_cut_and_says_so():
    html = cards.render("word\n" * 100_000)
    assert len(html) < 2 * cards.LONGEST_CARD
    assert "see the file README.md" in html


def test_title_summary_and_words_are_plain_text():
    body = (
        "Some *words* first,\non two lines.\n\n## Second\n\n# `First` <b>\n\n![alt](x) | code |\n"
    )
    assert cards.title(body) == "First <b>"
    assert cards.summary(body) == "Some words first, on two lines."
    assert "alt | code |" in cards.plain_text(body)


def test_a_long_summary_is_cut_at_a_word():
    text = cards.summary("adapter " * 100)
    assert len(text) <= cards.LONGEST_SUMMARY + 2
    assert text.endswith("adapter …")


def test_an_empty_card_has_neither_title_nor_summary():
    assert (cards.title(""), cards.summary(""), cards.plain_text("")) == ("", "", "")
