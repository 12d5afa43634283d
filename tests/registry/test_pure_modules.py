"""What hubctl checks a folder with starts quickly, and without a server's libraries."""

import subprocess
import sys

import pytest

PURE = (
    *("adapterhub", "contract", "diff", "errors", "frontmatter", "manifest", "names", "packages"),
    *("peft", "schemas", "strictjson", "structure", "versioning", "weights"),
)
HEAVY = ("sqlalchemy", "fastapi", "torch", "transformers", "huggingface_hub", "numpy", "obstore")


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_loads_nothing_heavy(module):
    program = (
        f"import sys, registry.{module}; print(*sorted(set({HEAVY!r}).intersection(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == ""


def test_names_and_errors_do_not_even_load_pydantic():
    program = "import sys, registry.names, registry.errors; print('pydantic' in sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "False"
