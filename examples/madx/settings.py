"""Where things are, and how they are trained: the `quick` setting of recipe.json."""

import json
import os
from pathlib import Path

HERE = Path(__file__).parent
BASE = HERE / "base"
TEXT = HERE / "text"
RECIPE = json.loads((HERE / "recipe.json").read_text("utf-8"))

LABELS = RECIPE["labels"]
LANGUAGES = ("en", "de", "fr")
SOURCE = "en"
TARGETS = ("de", "fr")

STEPS = RECIPE["quick"]["steps"]
PACK_SEED = RECIPE["quick"]["pack_seed"]
TASK_SEEDS = RECIPE["quick"]["task_seeds"]

CLS, SEP, MASK, PAD = (RECIPE["base"][f"{name}_id"] for name in ("cls", "sep", "mask", "pad"))
FIRST_WORD_PIECE = 5
"""Ids below are special tokens."""
MAX_LENGTH = RECIPE["task_adapter"]["max_len"]
TRY_OUT = int(os.environ.get("DEMO_PER_CLASS", "1000000"))
"""At most so many paragraphs per class, to see the demo run through without waiting."""
PER_CLASS = min(RECIPE["task_adapter"]["per_class"], TRY_OUT)
TEST_PER_CLASS, TEST_SEED = min(400, TRY_OUT), 12345
