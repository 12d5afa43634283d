"""Pages in a real browser: for the eye, the keyboard, a small screen, and with scripts off."""

import pytest
from playwright.sync_api import expect

from registry import accounts, login
from tests.support import catalogue
from tests.support.server import running_server

PATHS = [
    *("/", "/search", "/search?q=language&kind=language&language=sw", "/search?q=nothingatall"),
    *("/acme", "/acme/ner", "/acme/ner/versions/1.0.0", "/lab/xlmr-de", "/ana/draft"),
    *("/nothing/here", "/search?after=x", "/login", "/account/invitation?code=x"),
    *("/acme/ner/compare?before=1.0.0", "/base-models", "/base-models/xlm-roberta-base"),
]

# Of every text a person can see: its contrast with what lies behind it, by the rule of WCAG 2.
CONTRAST = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return canvas.getImageData(0, 0, 1, 1).data;
    };
    const behind = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = rgba(getComputedStyle(at).backgroundColor);
            if (colour[3] === 255) return colour;
        }
        return rgba("Canvas");
    };
    const luminance = (colour) => {
        const [r, g, b] = [...colour].slice(0, 3).map((value) => {
            const part = value / 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const poor = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    let seen = 0;
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
        if (element.closest("svg")) continue;  // its texts lie on shapes, not on backgrounds
        const pair = [rgba(getComputedStyle(element).color), behind(element)].map(luminance);
        const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
        seen += 1;
        if (ratio < 4.5) poor.push([walker.currentNode.data.trim(), ratio]);
    }
    return { seen, poor };
}"""

# What a screen reader steps through: landmarks, headings, and names of what can be operated.
OUTLINE = """() => {
    const named = (element) => element.labels?.length || element.getAttribute("aria-label")
        || element.getAttribute("aria-labelledby") || element.textContent.trim();
    const levels = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")]
        .filter((heading) => heading.checkVisibility()).map((heading) => +heading.tagName[1]);
    return {
        mains: document.querySelectorAll("main").length,
        headings: document.querySelectorAll("h1").length,
        jumps: levels.filter((level, at) => at && level > levels[at - 1] + 1),
        unnamed: [...document.querySelectorAll("a, button, input, nav, aside, [role]")]
            .filter((element) => element.type !== "hidden")
            .filter((element) => !named(element)).map((element) => element.outerHTML),
        doubled: [...document.querySelectorAll("[id]")].map((element) => element.id)
            .filter((id, at, all) => all.indexOf(id) !== at),
    };
}"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with running_server(tmp_path_factory.mktemp("browser")) as server:
        catalogue.fill(server)
        yield server


# --- for the eye ----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(visit, scheme):
    page = visit("/", scheme=scheme)
    for path in PATHS:
        page.goto(path)
        found = page.evaluate(CONTRAST)
        assert found["seen"] > 10
        assert found["poor"] == [], path


def test_pages_follow_the_scheme_of_the_system(visit):
    background = "getComputedStyle(document.body).backgroundColor"
    light, dark = (visit("/", scheme=scheme).evaluate(background) for scheme in ("light", "dark"))
    assert light == "rgb(251, 250, 247)"
    assert dark == "rgb(20, 23, 26)"


@pytest.mark.parametrize("width", [320, 375, 800, 1280])
def test_no_page_is_wider_than_the_screen(visit, width):
    page = visit("/", width=width)
    for path in PATHS:
        page.goto(path)
        root = "document.documentElement"
        assert page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth"), path


def test_no_link_of_the_menu_breaks_in_two_on_a_phone(visit):
    page = visit("/", width=375)
    links = page.get_by_role("navigation", name="Site").get_by_role("link").all()
    assert len({link.bounding_box()["y"] for link in links}) == 1
    assert len({link.bounding_box()["height"] for link in links}) == 1


def test_the_browser_has_nothing_to_complain_of(visit):
    page = visit("/")
    for path in PATHS:
        page.goto(path)
    assert page.faults == []


# --- for ears and keyboards -----------------------------------------------------------------------


def test_pages_have_an_outline_and_names(visit):
    page = visit("/")
    for path in PATHS:
        page.goto(path)
        expected = {"mains": 1, "headings": 1, "jumps": [], "unnamed": [], "doubled": []}
        assert page.evaluate(OUTLINE) == expected, path


def test_the_first_tab_offers_to_skip_to_the_content(visit):
    page = visit("/acme/ner")
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_a_suggestion_is_chosen_by_keyboard(visit):
    page = visit("/")
    box = page.get_by_role("combobox", name="Search adapters")
    box.press_sequentially("xlmr")
    options = page.get_by_role("option")
    expect(options).to_have_count(2)
    expect(box).to_have_attribute("aria-expanded", "true")
    box.press("ArrowDown")
    box.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    chosen = options.nth(1).get_attribute("data-name")
    box.press("Enter")
    page.wait_for_url(f"**/{chosen}")


def test_a_suggestion_is_chosen_by_mouse(visit):
    page = visit("/acme/ner")
    page.get_by_role("combobox").press_sequentially("lab/xlmr-s")
    page.get_by_role("option", name="lab/xlmr-sw").click()
    page.wait_for_url("**/lab/xlmr-sw")


def test_escape_closes_the_suggestions_and_enter_searches(visit):
    page = visit("/")
    box = page.get_by_role("combobox")
    box.press_sequentially("ner")
    expect(page.get_by_role("listbox")).to_be_visible()
    box.press("Escape")
    expect(page.get_by_role("listbox")).to_be_hidden()
    expect(box).to_have_value("ner")
    box.press("Enter")
    page.wait_for_url("**/search?q=ner")


@pytest.mark.parametrize("path", ["/", "/search?q=ner", "/acme/ner", "/leaderboards"])
def test_a_slash_leads_to_the_search_field_and_is_typed_in_it(visit, path):
    page = visit(path)
    box = page.get_by_role("combobox", name="Search adapters")
    page.locator("main").focus()
    page.keyboard.press("/")
    expect(box).to_be_focused()
    page.keyboard.type("acme/n")
    expect(box).to_have_value("acme/n")


def test_suggestions_that_fail_leave_a_search_that_works(visit):
    page = visit("/")
    page.route("**/api/v1/suggest*", lambda route: route.abort())
    box = page.get_by_role("combobox")
    box.press_sequentially("ner")
    box.press("Enter")
    page.wait_for_url("**/search?q=ner")
    expect(page.get_by_role("heading", level=1)).to_contain_text("for “ner”")


# --- copying --------------------------------------------------------------------------------------


def test_a_command_is_copied(visit):
    page = visit("/acme/ner")
    page.get_by_role("button", name="Copy Get it").click()
    expect(page.get_by_role("button", name="Copied Get it")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "hubctl pull acme/ner@2.0.0"


def test_a_digest_is_shown_short_and_copied_whole(visit):
    page = visit("/acme/ner")
    side = page.get_by_label("About this version")
    assert len(side.locator(".digest").first.inner_text()) == len("sha256:") + 11
    side.get_by_role("button", name="Copy sha256:").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert len(copied) == len("sha256:") + 64


def test_copying_works_where_the_browser_lends_no_clipboard(visit):
    page = visit(
        "/acme/ner", before="Object.defineProperty(navigator, 'clipboard', { value: undefined })"
    )
    page.get_by_role("button", name="Copy Get it").click()
    expect(page.get_by_role("button", name="Copied Get it")).to_be_visible()


# --- accounts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (375, "light")])
def test_a_person_chooses_a_password_logs_in_makes_a_token_and_leaves(hub, visit, width, scheme):
    with hub.session() as session:
        code = login.invite(session, accounts.find(session, "ana"))
    page = visit(f"/account/invitation?code={code}", width=width, scheme=scheme)
    sound(page)
    page.get_by_label("Password, 10").fill("correct horse battery")
    page.get_by_role("button", name="Set the password").click()
    page.get_by_label("Name").fill("ana")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/account")
    page.get_by_label("What it is for").fill("my laptop")
    page.get_by_role("button", name="Make a token").click()
    expect(page.get_by_text("Copy the token now.")).to_be_visible()
    sound(page)
    page.get_by_role("button", name="Revoke my laptop").click()
    expect(page.get_by_role("row").filter(has_text="my laptop")).to_have_count(0)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("link", name="Log in")).to_be_visible()
    assert page.faults == []


def sound(page):
    """A page that only those who are logged in see is held to what all others are."""
    assert page.evaluate(CONTRAST)["poor"] == []
    expected = {"mains": 1, "headings": 1, "jumps": [], "unnamed": [], "doubled": []}
    assert page.evaluate(OUTLINE) == expected
    root = "document.documentElement"
    assert page.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")


# --- without scripts ------------------------------------------------------------------------------


def test_everything_but_comfort_works_without_scripts(visit):
    page = visit("/", scripts=False)
    page.get_by_label("Search adapters").fill("language")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("2 adapters for “language”")
    page.get_by_label("Filters").get_by_role("link", name="Swahili").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("1 adapter for “language”")
    page.get_by_role("link", name="lab/xlmr-sw").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("xlmr-sw")
    assert page.locator("button").count() == 0
    whole = page.get_by_label("About this version").locator(".digest").first.inner_text()
    assert len(whole) == len("sha256:") + 64


def test_long_lists_unfold(visit):
    page = visit("/acme/ner", scripts=False)
    summary = page.get_by_text("1,000 values: 0, 1, 2")
    values = page.get_by_text("and 800 more in adapter_config.json")
    expect(values).to_be_hidden()
    summary.click()
    expect(values).to_be_visible()


def test_a_file_is_downloaded_by_its_link(visit):
    page = visit("/acme/ner")
    with page.expect_download() as download:
        page.get_by_role("link", name="README.md").click()
    assert download.value.path().read_text() == catalogue.NER_CARD


def test_code_in_a_card_does_not_run(visit):
    page = visit("/acme/ner")
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog), dialog.dismiss()))
    page.reload()
    expect(page.get_by_text('alert("from a card")')).to_be_visible()
    assert dialogs == []
