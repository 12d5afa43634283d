"""`hubctl base fits`."""

import json

from tests.support import shelf
from tests.support.packages import bert, registration


def test_a_registered_base_or_a_folder_says_what_fits(logged_in, hubctl, tmp_path):
    with logged_in.session() as session:
        shelf.add_base(session, shelf.owner(session, "ana"))
        adapter = shelf.add_adapter(session, logged_in.blobs, "ana/de")
        shelf.add_version(session, adapter, **shelf.language_pack("de"))
    shown = hubctl("base", "fits", "xlm-roberta-base")
    assert shown.code == 0
    assert shown.out.splitlines()[1].split()[:3] == ["ana/de", "1.0.0", "language"]
    assert "the same weights" in shown.out
    (fit,) = hubctl("base", "fits", shelf.BASE["body"], "--json").json
    assert (fit["name"], fit["fit"]) == ("ana/de", "fits")

    # A model at hand, which the hub has never heard of.
    document = registration(bert()).model_dump(mode="json")
    (tmp_path / "hub_base.json").write_text(json.dumps(document))
    none = hubctl("base", "fits", tmp_path)
    assert (none.code, none.out) == (0, "")
    assert "No adapter here stands on this base." in none.err
    document["identity"] |= {key: shelf.BASE[key] for key in ("structure", "body")}
    (tmp_path / "hub_base.json").write_text(json.dumps(document))
    (near,) = hubctl("base", "fits", tmp_path, "--json").json
    assert near["fit"] == "near"
    assert "token embeddings" in near["reason"]

    unknown = hubctl("base", "fits", "nothing")
    assert unknown.code == 1
    assert "no base model nothing is registered" in unknown.err
