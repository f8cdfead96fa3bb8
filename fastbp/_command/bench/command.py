"""`fastbp bench`: options in; tables, a JSON file and plots out.

The measurements come from processes of their own (`measure` says why), one dict after the other,
and are printed as they come. `--from` prints those of a file.
"""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from importlib.util import find_spec
from itertools import chain, groupby

import fastbp
from fastbp import _arguments, _files
from fastbp._arguments import DEFAULTS
from fastbp._command.bench import tables
from fastbp._command.bench.environment import measuring, slowing
from fastbp._command.bench.networks import NETWORKS, SUITES, Suite, merged
from fastbp._command.bench.plots import PANELS, draw, names
from fastbp._command.bench.timing import one_core
from fastbp._command.bench.verify import Deviation
from fastbp._command.figures import import_figure
from fastbp._kernels.dispatch import DTYPES

QUICK = tuple(NETWORKS[i] for i in (0, 1, 3, 4))
SECONDS, QUICK_SECONDS = 1.0, 0.1   # to time each network and dtype
DEFAULT_BATCH = 32                  # for a network that is not in the list

QUICK_WIDTHS = {"widths": list(range(4, 65)), "batches": [128], "activations": ["sigmoid"],
                "rounds": 5}
QUICK_POPULATION = (NETWORKS[1],)
QUICK_MANY = {"growth": [1, 10, 100], "n_answering": 1000}
ALL = "all"                         # of the suites

# In the order in which they are measured; the start and the size come after the epochs.
SECTIONS = {"gradient": "gradients", "epoch": "epochs", "fit": "fits", "width": "widths",
            "beyond": "beyond", "population": "population", "outputs": "outputs",
            "growth": "growth", "threads": "threads", "population_threads": "population_threads"}
# Files of before lack these.
SINCE_SUITES = {"fits", "widths", "beyond", "population", "outputs", "growth",
                "population_threads"}
WITH_ALL_CPUS = ("measure_threads", "measure_population_threads")


def run(args, measure=None):
    """Carry out `fastbp bench`.

    Parameters
    ----------
    args : argparse.Namespace
        networks, suite, dtype (None for both), activation, loss, quick, threads, population,
        json, plot, from_file.
    measure : callable, optional
        Takes the name of a task of `measure` and its options as keywords, and gives its
        results; by default in a process of its own.

    Returns
    -------
    int
        0, or 1 if fastbp and a peer computed different things.
    """
    planned = [] if args.from_file else list(tasks(args))
    drawn = ["gradients"] * any(task == "measure" and options["networks"]
                                for task, options in planned)
    drawn += ["growth"] * any(task == "measure_population" for task, _ in planned)
    if args.plot and planned and not drawn:
        raise ValueError("--plot draws gradients and populations, and none are asked for")
    if args.plot:
        import_figure()
    for path in (*([args.json] if args.json else []),
                 *(names(args.plot, drawn or PANELS) if args.plot else [])):
        _files.check_writable(path)
    try:
        if args.from_file:
            document = show(replay(read(args)))
        else:
            document = show(chain.from_iterable((measure or spawn)(task, **options)
                                                for task, options in planned))
    except Deviation as error:
        print(f"fastbp: {error}; it is not timed", file=sys.stderr)
        return 1
    for line in tables.warnings(document):
        print(f"fastbp: {line}", file=sys.stderr)
    if args.json:
        _files.write_file(args.json, (json.dumps(document, indent=1) + "\n").encode())
    if args.plot:
        draw(document, args.plot)
    return 0


def tasks(args):
    """Pairs of a function of the measuring process and its options: what the arguments ask for."""
    suite = chosen(args)
    for sizes, _ in (*suite.networks, *suite.threads):
        _arguments.loss_options(args.loss, sizes[-1])      # a softmax has two outputs or more
    if suite.fits and not find_spec("sklearn"):
        raise ImportError("fits are timed beside scikit-learn's: pip install 'fastbp[sklearn]'")
    common = {"dtypes": [args.dtype] if args.dtype else DTYPES}
    timed = {**common, "seconds": QUICK_SECONDS if args.quick else SECONDS}
    if suite.networks or suite.epochs or suite.startup:
        yield "measure", {**timed, **_kind(args), "networks": suite.networks,
                          "epochs": suite.epochs, "with_startup": suite.startup,
                          "without": ["torch.compile"] if args.quick else []}
    if suite.fits:
        yield "measure_fits", timed
    if suite.widths:
        yield "measure_widths", {**common, **(QUICK_WIDTHS if args.quick else {})}
    if suite.beyond:
        yield "measure_beyond", {**timed, "networks": suite.beyond}
    many = QUICK_POPULATION if args.quick and suite.population else suite.population
    if many:
        yield "measure_population", {**timed, "networks": many,
                                     **(QUICK_MANY if args.quick else {})}
    if suite.threads:
        yield "measure_threads", {**timed, **_kind(args), "networks": suite.threads}
    if many:
        yield "measure_population_threads", {**timed, "networks": many}


def chosen(args):
    """The suite that the arguments ask for."""
    if args.suite or args.population:
        if args.networks or args.threads or _kind(args) != DEFAULTS:
            raise ValueError(f"--{'suite' if args.suite else 'population'} says what is timed; of "
                             "the other options it takes --dtype, --quick, --json and --plot")
        return merged([*(parse_suites(args.suite) if args.suite else []),
                       *["population"] * args.population])
    networks = parse_networks(args.networks)
    if not (args.quick or args.threads or networks or _kind(args) != DEFAULTS):
        return SUITES["record"]
    networks = networks or (QUICK if args.quick else NETWORKS)
    return Suite(threads=networks) if args.threads else Suite(networks)


def parse_suites(text):
    """"middle,large" as a list of names of `SUITES`; "all" are all of them."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in (ALL, *SUITES):
            raise ValueError(f"--suite has {name!r}; it should list some of {', '.join(SUITES)}, "
                             f"or be {ALL}")
    return list(SUITES) if ALL in names else names


def _kind(args):
    return {"activation": args.activation, "loss": args.loss}


def parse_networks(text):
    """"2-8-8-1@32,30-64-64-1" as (sizes, batch) pairs; without @, the batches of `NETWORKS`."""
    pairs = []
    for item in text.split(",") if text else ():
        sizes, at, batch = item.strip().partition("@")
        try:
            sizes = tuple(int(size) for size in sizes.split("-"))
            batches = [int(batch)] if at else [n for known, n in NETWORKS if known == sizes]
        except ValueError:
            sizes, batches = (), []
        batches = batches or [DEFAULT_BATCH]
        if len(sizes) < 2 or min(*sizes, *batches) < 1:
            raise ValueError(f"--networks has {item.strip()!r}; it should list networks such as "
                             "30-64-64-1, or 30-64-64-1@32 with the batch size")
        pairs += [(sizes, batch) for batch in batches]
    return pairs


def spawn(task, **options):
    """Yield what a function of `measure` yields in a process of its own.

    It starts on one core, with one thread for every library and without the variables that slow one
    down, of which the machine's dict has an entry "unset"; that of threads with the CPUs and the
    environment that this process has.

    Raises
    ------
    Deviation
        A side computed something else.
    ChildProcessError
        The process failed; it has said why on stderr.
    """
    alone = task not in WITH_ALL_CPUS
    package = os.path.dirname(fastbp.__path__[0])
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    unset = slowing(os.environ) if alone else {}
    env = {**(measuring(os.environ) if alone else os.environ), "PYTHONPATH": path,
           "FASTBP_ISA": fastbp.get_isa()}
    command = [sys.executable, "-P", "-m", "fastbp._command.bench.measure",
               json.dumps([task, options])]
    with one_core() if alone else nullcontext():     # what it starts is pinned from its first act
        process = subprocess.Popen(command, env=env, encoding="utf-8", stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE)
    with process:
        try:
            for line in process.stdout:
                result = json.loads(line)
                if result["kind"] == "deviation":
                    raise Deviation(result["message"])
                yield result | ({"unset": unset} if result["kind"] == "machine" else {})
            if process.wait() != 0:
                raise ChildProcessError(f"the measuring process ended with {process.returncode}")
        finally:
            process.kill()  # nothing, if it has ended


# ---- the document of a run


def show(results):
    """Print results as they come; all of them as the dict that `--json` writes."""
    document = {"machine": None, **{name: [] for name in SECTIONS.values()}, "startup": None}
    for kind, group in groupby(results, lambda result: result["kind"]):
        first = next(group)
        if kind in SECTIONS:
            with tables.table(first) as add:
                for result in chain([first], group):
                    document[SECTIONS[kind]].append(result)
                    add(tables.cells(result))
        elif document[kind] is None:    # later processes repeat the machine
            document[kind] = first
            lines = {"machine": tables.machine_lines, "startup": tables.startup_lines}[kind](first)
            print(*([""] if kind == "startup" else []), *lines, sep="\n", flush=True)
    doubts = list(tables.doubts(document["gradients"]))
    if doubts:
        document["doubts"] = doubts
        print("\nNot to be trusted:", *doubts, sep="\n", flush=True)
    return document


def replay(document):
    """Yield the results of a document in the order in which they were measured."""
    yield document["machine"]
    for name in SECTIONS.values():
        yield from document.get(name, ())
        if name == "epochs" and document["startup"]:
            yield document["startup"]


def read(args):
    """The document that `--json` wrote to the file that `--from` names."""
    if (args.json or args.quick or args.threads or args.networks or args.suite or args.population
            or args.dtype or _kind(args) != DEFAULTS):
        raise ValueError("--from prints what was measured; of the other options it takes --plot")
    with open(args.from_file, "rb") as file:
        try:
            document = json.load(file)
            if {"machine", "startup", *SECTIONS.values()} - SINCE_SUITES <= document.keys():
                return document
        except (ValueError, AttributeError):
            pass
    raise ValueError(f"{args.from_file}: is not a file that fastbp bench --json wrote")
