"""scikit-learn's own tests of its MLP, from the installed package, pass on fastbp.sklearn."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import sklearn.neural_network

import fastbp

TESTS = Path(sklearn.neural_network.__file__).parent / "tests" / "test_mlp.py"
# name: what of scikit-learn's private methods or buffers it calls
EXCLUDED = {"test_gradient": "_loss_grad_lbfgs"}
RUN = """
import sys
import fastbp.sklearn, sklearn.neural_network
for name in fastbp.sklearn.__all__:
    setattr(sklearn.neural_network, name, getattr(fastbp.sklearn, name))
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def run(folder, *options):
    """pytest on that file, in a process where its import finds fastbp's classes."""
    return subprocess.run(
        [sys.executable, "-c", RUN, TESTS, "-q", "-p", "no:cacheprovider", *options], cwd=folder,
        capture_output=True, text=True, timeout=600,
        env={"PYTHONPATH": str(Path(fastbp.__file__).parents[1]), "PATH": ""})


def test_what_scikit_learn_tests(tmp_path):
    """All but those excluded; what is skipped is for want of a package."""
    ended = run(tmp_path, "-rs", "-k", f"not ({' or '.join(EXCLUDED)})")
    assert ended.returncode == 0, ended.stdout
    assert int(re.search(r"(\d+) passed", ended.stdout)[1]) > 50
    assert f"{len(EXCLUDED)} deselected" in ended.stdout
    skipped = re.findall(r"^SKIPPED .*", ended.stdout, re.MULTILINE)
    assert all("could not import" in line for line in skipped), skipped


@pytest.mark.parametrize("name", EXCLUDED)
def test_what_is_excluded_needs_private_names(name, tmp_path):
    assert len(EXCLUDED) <= 4
    ended = run(tmp_path, "-k", name)
    assert f"has no attribute '{EXCLUDED[name]}'" in ended.stdout
