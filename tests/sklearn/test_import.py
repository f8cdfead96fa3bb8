"""fastbp.sklearn is imported by its users alone, and says which extra it needs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastbp


def in_a_process(script, folder):
    return subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True,
                          text=True, env={**os.environ,
                                          "PYTHONPATH": str(Path(fastbp.__file__).parents[1])})


def test_fastbp_does_not_import_it(tmp_path):
    script = "import sys, fastbp; print({'sklearn', 'scipy', 'fastbp.sklearn'} & set(sys.modules))"
    assert in_a_process(script, tmp_path).stdout == "set()\n"


@pytest.mark.parametrize(("missing", "there", "words"), [
    ("sklearn", "", "there is no sklearn here"),
    ("scipy", "", "there is no scipy here"),
    ("sklearn.callback", "1.8.2", "this is 1.8.2 (No module named 'sklearn.callback')"),
])
def test_without_scikit_learn_the_extra_is_named(missing, there, words, tmp_path):
    """Or with one before 1.9, which is named beside what is needed."""
    script = f"""
import sys
if {there!r}:
    import sklearn
    sklearn.__version__ = {there!r}
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
import fastbp.sklearn
"""
    ended = in_a_process(script, tmp_path)
    last = ended.stderr.strip().splitlines()[-1]
    assert last == ("ImportError: fastbp.sklearn needs scikit-learn 1.9 or later, and "
                    f"{words}: pip install 'fastbp[sklearn]'")
