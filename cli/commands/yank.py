"""`hubctl yank`."""

from cli import states

command = states.command(
    "yank",
    "yanked",
    """Keep a version from being chosen anew.

    REF is OWNER/NAME@NUMBER. Locks that pin the version still load; nothing new resolves to it.
    """,
    examples=(
        "hubctl yank acme/ner@1.1.0 --reason 'trained on the test split'",
        "hubctl yank acme/ner@1.1.0 --undo",
    ),
)
