"""What the site has besides docs/*.md, as hooks of MkDocs (mkdocs.yml).

- Pages of the reference: `REFERENCE` lists the names on each; mkdocstrings writes them.
- A page for every file outside docs/ that a page links to, under repository/: Markdown as it is,
  of a program its text. Links stay as they are in the files, so that they work in a checkout, too.
- docs/measurements.html within the frame of the site.
- A picture with a dark twin, which GitHub shows by the system's scheme, by that of the site.
- Formulas, which LaTeX writes, as MathML, which browsers set without a script.
"""

import html
import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
ELSEWHERE = "repository"
LINK = re.compile(r'(\]\(|(?:src|srcset)=")(?!\w+:|#|/)([^)\s"#]+)')
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
PICTURE = re.compile(r'<picture><source media="[^"]*" srcset="([^"]+)">'
                     r'<img alt="([^"]*)" src="([^"]+)"></picture>')
TAG = re.compile(r"\\tag\{(.*?)\}")
NAMED = re.compile(r"<m([io])>(log|ln|exp|sin|cos|tanh|max|min)</m\1>(?=(<mo[^>]*>&#x00028;)?)")
PRIMES = re.compile(r"<m(?:sub)?sup>(<m[io][^>]*>[^<]*</m[io]>)(<m[in]>[^<]*</m[in]>|)"
                    r"<mi>(&#x0203[23];)</mi></m(?:sub)?sup>")
IMAGES = r"![\2](\3#only-light)![\2](\1#only-dark)"
FRAMED = "measurements"         # the page of docs/ that is HTML, without its end
FRAME = re.compile(r"<title>[^<]*: (.*?)</title>.*<!-- page -->(.*)<!-- end of page -->", re.DOTALL)
LANGUAGES = {".py": "python", ".h": "c", ".sh": "sh", ".json": "json", ".toml": "toml",
             ".cff": "yaml", "": "sh"}
REFERENCE = {
    "network": ("Networks and optimizers", ["fastbp.MLP", "fastbp.SGD", "fastbp.Adam",
                                            "fastbp.clip_grad_norm", "fastbp.Layers",
                                            "fastbp.backprop"]),
    "population": ("Many networks", ["fastbp.Population", "fastbp.train_many",
                                     "fastbp.poisson_order"]),
    "equations": ("Equations, losses, settings", [
        "fastbp.sigmoid", "fastbp.sigmoid_backward", "fastbp.delta_step", "fastbp.weight_grad",
        "fastbp.activate", "fastbp.bce_with_logits", "fastbp.softmax_with_logits",
        "fastbp.squared_error", "fastbp.poisson_with_logits", "fastbp.get_num_threads",
        "fastbp.set_num_threads", "fastbp.get_isa", "fastbp.available_isas",
        "fastbp.get_include", "fastbp.show_config"]),
    "numpy": ("The same in NumPy", ["fastbp.reference"]),
    "files": ("Tables and files", [
        "fastbp.datasets.load_breast_cancer", "fastbp.datasets.read_table",
        "fastbp.datasets.Dataset", "fastbp.io.save_model", "fastbp.io.load_model",
        "fastbp.io.SavedModel"]),
    "sklearn": ("Estimators", [
        "fastbp.sklearn.MLPClassifier", "fastbp.sklearn.MLPRegressor",
        "fastbp.sklearn.MLPEnsembleClassifier", "fastbp.sklearn.MLPEnsembleRegressor",
        "fastbp.sklearn.MLPSearchCV"]),
    "dask": ("Dask", [
        "fastbp.dask.DaskMLPClassifier", "fastbp.dask.DaskMLPRegressor", "fastbp.dask.objective",
        "fastbp.dask.SchedulerLost"]),
    "torch": ("PyTorch", [
        "fastbp.torch.fuse", "fastbp.torch.FusedSequential", "fastbp.torch.loss_and_grad_",
        "fastbp.torch.clipped_loss_and_grad_", "fastbp.torch.to_torch",
        "fastbp.torch.from_torch"]),
    "onnx": ("ONNX", ["fastbp.onnx.export", "fastbp.onnx.to_onnx",
                      "fastbp.onnx.register_skl2onnx"]),
}


def path_of(uri):
    """The path, from the root of the checkout, of the file that a page of the site is made from."""
    first, _, rest = uri.partition("/")
    if first == ELSEWHERE:
        return rest.removesuffix(".md") if (ROOT / rest.removesuffix(".md")).is_file() else rest
    return f"docs/{uri}"


def page_of(path):
    """The page, or the picture, of the site that a file of the checkout becomes."""
    if path == f"docs/{FRAMED}.html":
        return f"{FRAMED}.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{ELSEWHERE}/{path}" if path.endswith(".md") else f"{ELSEWHERE}/{path}.md"


def targets(text, path):
    """The files that the text of a file links to, as paths from the root of the checkout."""
    for _, link in LINK.findall(text):
        yield posixpath.normpath(posixpath.join(posixpath.dirname(path), link))


def linked(paths):
    """The files outside docs/ that these link to, and those that they link to."""
    found, ahead = {}, list(paths)
    while ahead:
        path = ahead.pop()
        for target in targets((ROOT / path).read_text(), path):
            if not target.startswith("docs/") and target not in found:
                if not (ROOT / target).is_file():
                    raise FileNotFoundError(f"{path} links to {target}, which is no file")
                found[target] = None
                ahead += [target] if target.endswith(".md") else []
    return list(found)


def text_of(path):
    """The Markdown of a page for a file outside docs/."""
    text = (ROOT / path).read_text()
    if path.endswith(".md"):
        return text
    return f"# {path}\n\n```{LANGUAGES[Path(path).suffix]}\n{text}```\n"


def on_files(files, config):
    """Adds the pages that are no files of docs/."""
    pages = {page_of(path): text_of(path) for path in linked(
        f"docs/{file.src_uri}" for file in files.documentation_pages())}
    files.remove(files.get_file_from_path(f"{FRAMED}.html"))
    pages[f"{FRAMED}.md"] = f"# {framed()[0].capitalize()}\n"
    for stem, (title, names) in REFERENCE.items():
        shown = "\n".join(f"::: {name}\n" for name in names)
        pages[f"reference/{stem}.md"] = f"# {title}\n\n{shown}"
    for uri, text in pages.items():
        file = File.generated(config, uri, content=text)
        if uri.startswith(ELSEWHERE):
            file.inclusion = file.inclusion.NOT_IN_NAV
        files.append(file)
    return files


def on_page_markdown(markdown, page, **others):
    """Links between files as links between pages; a picture as one for each scheme of the site."""
    here = page.file.src_uri
    if here.startswith("reference/") or here == f"{FRAMED}.md":
        return markdown
    path = path_of(here)

    def to_page(found):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), found[2]))
        return found[1] + posixpath.relpath(page_of(target), posixpath.dirname(here) or ".")

    fences = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    fences[::2] = [LINK.sub(to_page, PICTURE.sub(IMAGES, text)) for text in fences[::2]]
    return "".join(fences)


def spaced(formula):
    """Names of functions as operators with their space, none before a parenthesis; primes, which
    fonts draw raised, on the line of their letter."""
    def operator(found):
        right = "0" if found[3] else "0.1667em"
        return f'<mo lspace="0.1667em" rspace="{right}">{found[2]}</mo>'

    def primed(found):
        letter = f'<mrow>{found[1]}<mo lspace="0" rspace="0">{found[3]}</mo></mrow>'
        return f"<msub>{letter}{found[2]}</msub>" if found[2] else letter

    return PRIMES.sub(primed, NAMED.sub(operator, formula))


def framed():
    """The title and the content of the page that is HTML."""
    return FRAME.search((ROOT / "docs" / f"{FRAMED}.html").read_text()).groups()


def on_page_content(content, page, **others):
    """Formulas as MathML, the number of an equation behind it; the page that is HTML as it is."""
    if page.file.src_uri == f"{FRAMED}.md":
        return content + framed()[1]

    def formula(found):
        text = html.unescape(found[2]).replace("{aligned}", "{align*}")  # which latex2mathml knows
        number = TAG.search(text)
        shown = spaced(convert(TAG.sub("", text),
                               display="block" if found[1] == "div" else "inline"))
        label = f'<span class="number">({number[1]})</span>' if number else ""
        return f'<{found[1]} class="formula">{shown}{label}</{found[1]}>'

    return FORMULA.sub(formula, content)
