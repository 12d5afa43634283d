import re

import pytest
from huggingface_hub.utils import validate_repo_id

from registry.errors import InvalidName
from registry.names import (
    RESERVED_OWNERS,
    Content,
    Exact,
    Latest,
    Range,
    Reference,
    RevisionPin,
    language_matches,
    parse_language,
    parse_name,
    parse_owner,
    parse_reference,
    parse_selector,
)

GOOD = ["acme/ner", "a/b", "lab_1/copa.v2-x", "0/0", "a" * 47 + "/" + "b" * 48, "a-b/c_", "_a/b"]
BAD = {
    "ner": "owner/adapter",
    "acme/": "owner/adapter",
    "/ner": "1 to 96 characters",
    "a/b/c": "owner/adapter",
    "a" * 48 + "/" + "b" * 48: "97 characters",
    "acme/n..er": "'..'",
    "acme/n--er": "'--'",
    "acme/.ner": "either end",
    "acme/ner-": "either end",
    "-acme/ner": "either end",
    "acme/né": "letters, digits",
    "acme/n er": "letters, digits",
    "acme/n\x00er": "letters, digits",
    "acme/x.git": "'.git'",
    "api/ner": "reserved",
    "Models/ner": "reserved",
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_name_is_kept_and_hub_clients_accept_it(name):
    assert parse_name(name) == name
    validate_repo_id(name)


@pytest.mark.parametrize(("name", "reason"), BAD.items())
def test_a_bad_name_is_refused_with_the_reason(name, reason):
    with pytest.raises(InvalidName, match=re.escape(reason)):
        parse_name(name)


def test_names_are_lower_case():
    assert parse_name(" Acme/NER-XLMR ") == "acme/ner-xlmr"


@pytest.mark.parametrize("owner", sorted(RESERVED_OWNERS))
def test_nobody_may_be_called_like_a_path_of_the_server(owner):
    with pytest.raises(InvalidName, match="reserved"):
        parse_owner(owner.upper())


@pytest.mark.parametrize(
    ("text", "selector"),
    [
        ("a/b", Latest()),
        ("a/b@latest", Latest()),
        ("a/b@1.2.0", Exact("1.2.0")),
        ("a/b@v1.2.0", Exact("1.2.0")),
        ("a/b@^1", Range("^1")),
        ("a/b@^0.2", Range("^0.2")),
        ("a/b@^1.2.3", Range("^1.2.3")),
        ("a/b@sha256:" + "0" * 64, Content("sha256:" + "0" * 64)),
        ("a/b@" + "f" * 40, RevisionPin("f" * 40)),
    ],
)
def test_a_reference_is_read_and_written_back(text, selector):
    reference = parse_reference(text)
    assert reference == Reference(parse_name("a/b"), selector)
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    ["1.2", "1", "^", "~1", "1.2.0-rc1", "01.0.0", "^01", "sha256:12", "f" * 39, "main", "",
     "1.0.0 2.0.0", "1.0." + "9" * 10],
)  # fmt: skip
def test_what_selects_nothing_is_refused_with_the_forms_that_do(text):
    with pytest.raises(InvalidName, match=r"selects no version; write a full number"):
        parse_selector(text)


@pytest.mark.parametrize(
    ("tag", "standard"),
    [("EN", "en"), ("en_us", "en-US"), ("deu", "de"), ("zh_hant", "zh-Hant"), ("qu", "qu"),
     ("eng-Latn", "en"), ("iw", "he"), ("sr-latn", "sr-Latn")],
)  # fmt: skip
def test_language_tags_get_their_standard_form(tag, standard):
    assert parse_language(tag) == standard
    assert parse_language(standard) == standard


LONG_TAG = "en-x-" + "-".join(["private"] * 5)


@pytest.mark.parametrize(
    "tag", ["", "e", "English", "multilingual", "xx", "en-Wiki-foo-bar", "en us", LONG_TAG]
)
def test_what_is_no_language_tag_is_refused(tag):
    with pytest.raises(InvalidName, match="BCP-47"):
        parse_language(tag)


@pytest.mark.parametrize(
    ("wanted", "offered", "serves"),
    [
        ("en", "en", True),
        ("en", "de", False),
        ("en", "en-GB", True),
        ("en-GB", "en", False),
        ("en-GB", "en-US", False),
        ("zh", "zh-Hans", True),
        ("zh", "zh-Hant", False),
        ("zh-Hant", "zh", False),
        ("zh-Hant", "zh-TW", True),
        ("sr", "sr-Latn", False),
        ("de", "de-1996", True),
        ("de-1996", "de", False),
    ],
)
def test_a_language_serves_only_a_request_for_itself(wanted, offered, serves):
    assert language_matches(wanted, offered) is serves
