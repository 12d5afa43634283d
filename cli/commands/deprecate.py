"""`hubctl deprecate`."""

from cli import states

command = states.command(
    "deprecate",
    "deprecated",
    """Advise against a version, and name its successor.

    REF is OWNER/NAME@NUMBER. The version still resolves, with a warning.
    """,
    examples=(
        "hubctl deprecate acme/ner@1.0.0 --successor acme/ner@2.0.0",
        "hubctl deprecate acme/ner@1.0.0 --reason 'labels were shifted'",
        "hubctl deprecate acme/ner@1.0.0 --undo",
    ),
)
