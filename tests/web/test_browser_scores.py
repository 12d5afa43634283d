"""Leaderboards, the matrix and external adapters in a real browser."""

import pytest
from playwright.sync_api import expect

from tests.support import catalogue
from tests.support.server import running_server
from tests.web.test_browser import CONTRAST, OUTLINE

PATHS = [
    *("/leaderboards", "/leaderboards/records", "/leaderboards?dataset=nothing"),
    "/leaderboards/board?dataset=wikiann&config=sw&language=sw&metric=f1",
    *("/matrix", "/matrix/xlm-roberta-base"),
    "/matrix/xlm-roberta-base?task=acme/ner&language=bs",
    "/matrix/xlm-roberta-base?task=acme/ner&language=sw",
    *("/adapterhub/xlmr-sentiment", "/search?q=adapterhub"),
]


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("browser")) as server:
        catalogue.fill(server)
        catalogue.fill_matrix(server)
        yield server


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_can_be_read_and_have_an_outline(visit, scheme):
    page = visit("/", scheme=scheme)
    for path in PATHS:
        page.goto(path)
        found = page.evaluate(CONTRAST)
        assert found["seen"] > 10
        assert found["poor"] == [], path
        expected = {"mains": 1, "headings": 1, "jumps": [], "unnamed": [], "doubled": []}
        assert page.evaluate(OUTLINE) == expected, path
    assert page.faults == []


@pytest.mark.parametrize("width", [320, 800, 1280])
def test_no_page_is_wider_than_the_screen(visit, width):
    page = visit("/", width=width)
    for path in PATHS:
        page.goto(path)
        root = "document.documentElement"
        assert page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth"), path


def test_what_was_taken_back_is_struck_out(visit):
    page = visit("/acme/ner", scripts=False)
    page.get_by_text("1 score taken back or replaced").click()
    expect(page.locator(".past s")).to_have_text("wikiann validation perplexity 1.50")
    expect(page.locator(".past")).to_contain_text("retracted by acme")


def test_an_external_adapter_is_marked_and_leads_to_its_source(visit):
    page = visit("/search?q=sentiment")
    expect(page.get_by_text("External: adapterhub, no weights here")).to_be_visible()
    page.get_by_role("link", name="adapterhub/xlmr-sentiment").click()
    source = page.get_by_role("link", name="adapterhub", exact=True).last
    assert source.get_attribute("href").endswith("adapters/ukp/xlmr-sentiment.yaml")
    expect(page.get_by_text("are not on this hub")).to_be_visible()


def test_headings_of_the_matrix_stay_in_sight(visit):
    page = visit("/matrix/xlm-roberta-base", width=375)
    frame = page.get_by_role("region", name="Matrix")
    before = page.locator(".matrix tbody th").first.bounding_box()
    frame.evaluate("element => { element.scrollLeft = 200; element.scrollTop = 200; }")
    after = page.locator(".matrix tbody th").first.bounding_box()
    assert frame.evaluate("element => element.scrollLeft") > 0
    assert after["x"] == before["x"]
    top = frame.bounding_box()["y"]
    assert abs(page.locator(".matrix thead th").first.bounding_box()["y"] - top) < 3


def test_a_cell_explains_itself_without_scripts(visit):
    page = visit("/matrix/xlm-roberta-base", scripts=False)
    page.locator(".matrix a.cell-measured").first.click()
    expect(page.get_by_role("heading", level=2)).to_contain_text("in Swahili: works")
    expect(page.get_by_text("hubctl pull --task acme/ner@2.0.0 --language sw")).to_be_visible()
    page.get_by_role("link", name="wikiann sw").click()
    expect(page.get_by_role("heading", level=2)).to_have_text("Zero-shot")


def test_a_leaderboard_leads_to_adapters_by_score_and_their_order_can_be_changed(visit):
    page = visit("/leaderboards/board?dataset=wikiann&metric=perplexity", scripts=False)
    page.get_by_role("link", name="Adapters by their best perplexity on wikiann").click()
    orders = page.get_by_role("navigation", name="Order")
    expect(orders.get_by_role("link", name="Score")).to_have_attribute("aria-current", "true")
    first = page.locator(".hits > li").first
    expect(first).to_contain_text("acme/ner")
    expect(first).to_contain_text("score 4.2")
    orders.get_by_role("link", name="Name").click()
    expect(page.locator(".hits > li").first).not_to_contain_text("score 4.2")
    orders.get_by_role("link", name="Score").click()
    expect(page.locator(".hits > li").first).to_contain_text("score 4.2")


def test_a_board_of_set_ups_alone_leads_to_no_order_of_adapters(visit):
    page = visit("/leaderboards/board?dataset=wikiann&config=sw&language=sw&metric=f1")
    expect(page.get_by_text("Adapters by their best")).to_have_count(0)
