"""Promise: the site of docs/ builds without a warning, and says what the files say.

A link or an anchor that leads nowhere is such a warning, and so is a page that the navigation does
not name. The extra `docs` is not in `test`: .ci/run has a step for this file, which fails if it is
skipped.
"""

import html
import re
import shutil
import subprocess
import sys

import pytest
from places import ROOT

import fastbp
import fastbp.sklearn

pytest.importorskip("mkdocs", reason="the extra docs is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir",
                            folder], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


def page(site, name):
    return (site / name).read_text()


def test_every_page_is_there(site):
    for path in ROOT.glob("docs/*.md"):
        assert (site / path.with_suffix(".html").name).exists()


def test_links_stay_within_the_site(site):
    """Also those to files outside docs/: on a page of the site each has a page."""
    checked = 0
    for path in site.glob("**/*.html"):
        for link in re.findall(r'<(?:a|img|source|link|script)\b[^>]* (?:href|src|srcset)="?'
                               r'([^"\s#>]+)', path.read_text()):
            if not re.match(r"\w+:", link) and path.name != "404.html":
                assert (path.parent / link).exists(), f"{path.relative_to(site)}: {link}"
                checked += 1
    assert checked > 1000


def test_nothing_is_fetched_from_elsewhere(site):
    for path in site.glob("**/*.html"):
        assert not re.search(r'<(?:script|img|link rel="?stylesheet"?)\b[^>]*'
                             r'(?:src|href)="?https?:', path.read_text())


def test_a_picture_is_that_of_the_scheme(site):
    text = page(site, "performance.html")
    assert text.count("#only-light") == text.count("#only-dark") == 2
    assert "<picture>" not in text


def test_the_page_to_filter_is_a_page_of_the_site(site):
    """The page has the navigation and both schemes of the site, and every row of the file."""
    text = page(site, "measurements.html")
    assert 'class="md-header' in text or "class=md-header" in text
    assert "data-md-color-scheme" in text
    content = (ROOT / "docs" / "measurements.html").read_text().partition("<!-- page -->")[2]
    assert content.partition("<!-- end of page -->")[0] in text


def test_choices_are_texts(site):
    """And no links to the functions of these names."""
    for name in ("network", "torch"):
        text = html.unescape(page(site, f"reference/{name}.html"))
        assert '"squared_error", "poisson"}' in text
        assert 'title="fastbp.squared_error' not in text and 'title="fastbp.sigmoid' not in text


def test_formulas_are_set(site):
    text = page(site, "derivation.html")
    assert "<mi>log</mi>" not in text and re.search("<mo [^>]*>log</mo>", text)
    assert not re.search("<mi>(&#x0203[23];|[′″])</mi>", text), "a prime is raised twice"
    assert "<mi>&</mi>" not in text and "<mi>&amp;</mi>" not in text, "an unknown environment"
    assert "arithmatex" not in text
    assert re.findall(r'class="?number"?>\(E(\d)\)', text) == list("123456789")
    assert not re.search(r"<m[a-z]+>\\", text), "a command of LaTeX is not known"


def test_every_public_name_has_its_docstring(site):
    text = "".join(path.read_text() for path in site.glob("reference/*.html"))
    for name in set(fastbp.__all__) - {"__version__"}:
        assert f'id="fastbp.{name}"' in text or f"id=fastbp.{name}" in text, name
    for method in ("backprop", "fit", "train_epoch", "hvp", "objective"):
        first = getattr(fastbp.MLP, method).__doc__.strip().splitlines()[0]
        assert re.sub(r"`.*?`", "", first)[:30] in text, method


def test_integrations_have_docstrings(site):
    text = page(site, "reference/sklearn.html")
    for name in ("MLPClassifier", "MLPRegressor", "MLPEnsembleClassifier", "MLPSearchCV"):
        assert f"fastbp.sklearn.{name}" in text
    for words in (fastbp.sklearn.MLPClassifier.__doc__, fastbp.sklearn.MLPSearchCV.__doc__):
        assert words.strip()[:25] in text
    for name in ("fuse", "loss_and_grad_"):
        assert f"fastbp.torch.{name}" in page(site, "reference/torch.html")


def test_a_link_that_leads_nowhere_is_an_error(tmp_path):
    """In a copy of what the site is made of."""
    for name in ("docs", "tools", "fastbp", "bench", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md",
                 "CITATION.cff"):
        shutil.copy(ROOT / name, tmp_path)
    index = tmp_path / "docs" / "index.md"
    text = index.read_text()
    for link, said in (("glossary.md#no-such-anchor", "no-such-anchor"),
                       ("../no-such-file.md", "no-such-file")):
        index.write_text(f"{text}\n[a link]({link})\n")
        built = subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir",
                                tmp_path / "site"], cwd=tmp_path, capture_output=True, text=True)
        assert built.returncode != 0
        assert said in built.stderr
