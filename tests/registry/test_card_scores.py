"""What a card states is recorded when it is published; what is recorded is stated with the card."""

import pytest

from registry import base_models, card_scores, frontmatter, model_index, publish, revisions, scores
from registry.schemas import ScoreIn
from tests.registry.test_publish import upload
from tests.support.packages import HEAD, bert, make_folder, registration

BASE = bert()
REGISTRATION = registration(BASE)

CARD = """---
license: mit
pipeline_tag: token-classification
model-index:
- name: ner
  results:
  - task: {{type: token-classification}}
    dataset: {{type: conll2003, name: CoNLL 2003, config: en, split: validation}}
    metrics:
    - {{type: f1, value: {f1}, name: F1}}
    - {{type: accuracy, value: 97.3}}
    - {{type: no-such-metric, value: 0.5}}
    - {{type: accuracy, value: high}}
---
# NER
"""


@pytest.fixture
def adapter(session, ana):
    base_models.register(session, REGISTRATION, ana)
    return revisions.create_adapter(session, ana, "ana/ner")


@pytest.fixture
def send(session, blobs, adapter):
    numbers = iter(range(100))

    def send(card, seed=0):
        made = make_folder(
            BASE, identity=REGISTRATION.identity.model_dump(), head=HEAD, card=card, seed=seed
        )
        revision = upload(session, blobs, adapter, made, f"incoming/{next(numbers)}")
        return publish.publish_revision(session, blobs, adapter, revision.id, None, adapter.owner)

    return send


def of(session, published):
    return scores.for_subject(session, published.version.content, None)


def test_results_of_a_card_are_recorded_as_reported(session, send):
    published = send(CARD.format(f1=0.91))

    (score,) = of(session, published)

    assert (score.dataset, score.config, score.split) == ("conll2003", "en", "validation")
    assert (score.metric, score.value, score.source) == ("f1", 0.91, "reported")
    assert score.reported_by == "ana"


def test_what_cannot_be_right_is_told_and_stands_in_nobodys_way(send):
    warnings = "\n".join(send(CARD.format(f1=0.91)).warnings)

    assert "metric 2: 97.3 is out of bounds" in warnings
    assert "if 97.3 is a percentage, write 0.973" in warnings
    assert "no-such-metric" in warnings
    assert "metric 4: the value of accuracy is no number but 'high'" in warnings


def test_a_newer_card_replaces_what_the_older_one_stated(session, send):
    first = send(CARD.format(f1=0.91))
    second = send(CARD.format(f1=0.92))

    assert first.version.content == second.version.content  # only the card changed
    assert [score.value for score in of(session, second)] == [0.92]
    history = scores.for_subject(session, second.version.content, None, history=True)
    assert sorted(score.value for score in history) == [0.91, 0.92]


def test_a_model_index_that_is_no_list_is_told(send):
    (warning,) = (w for w in send("---\nmodel-index: 5\n---\n").warnings if "model-index" in w)
    assert "is no list" in warning


def test_what_the_hub_recorded_is_stated_beside_what_the_card_states(session, send, adapter, ana):
    text = CARD.format(f1=0.91)
    published = send(text)
    scores.record(
        session,
        ScoreIn(
            subject=published.version.content,
            dataset="wikiann",
            metric="accuracy",
            value=0.8,
            n=100,
            conditions={"zero_shot": True},
        ),
        ana,
    )
    card = frontmatter.split(text)

    own, added = card_scores.completed_index(session, adapter, card, None)

    assert own == card.metadata["model-index"][0]
    (result,) = added["results"]
    assert result["task"] == {"type": "token-classification"}
    assert result["dataset"]["type"] == "wikiann"
    assert result["metrics"][0] == {
        "type": "accuracy",
        "value": 0.8,
        "verified": False,
        "args": {"conditions": {"zero_shot": True}, "n": 100},
    }


def test_a_card_without_results_gets_those_of_the_hub(session, send, adapter):
    published = send(CARD.format(f1=0.91))
    (index,) = card_scores.completed_index(session, adapter, frontmatter.Card(), None)
    (found,) = model_index.read({"model-index": [index]})
    assert (found.dataset, found.metric, found.value) == ("conll2003", "f1", 0.91)
    assert published.created


def test_results_beyond_any_sense_are_not_read():
    result = {"dataset": {"type": "d"}, "metrics": [{"type": "f1", "value": 0.1}] * 300}
    found = list(model_index.read({"model-index": [{"results": [result]}]}))
    assert len(found) == model_index.MOST_ENTRIES + 1
    assert "more than 200" in str(found[-1])
