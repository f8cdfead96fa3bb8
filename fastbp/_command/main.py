"""The `fastbp` command: its options, its help, its exit codes and its errors.

The subcommands are in modules of their names, each imported when it is asked for.
Results go to stdout, progress and errors to stderr; an error is one line, wrapped on a terminal.
Without a subcommand it prints its help. Exit codes: 0; 1 if `check` finds a deviation;
2 for an error; 130 after Ctrl-C; 141 if the reader of the output has gone, as after `| head`.
"""

import argparse
import errno
import io
import os
import shutil
import sys

import fastbp
from fastbp import _arguments, _screen
from fastbp._command import options
from fastbp._command.exits import INTERRUPTED, READER_GONE

WIDEST_HELP = 100       # cells; longer lines are hard to read


@_arguments.public
def main(argv=None):
    """Run the command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the command's name; by default those of the process.

    Returns
    -------
    int
        The exit code.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # any column name can be printed
    try:
        try:
            args = _parser().parse_args(options.joined(sys.argv[1:] if argv is None else argv))
            code = args.run(args) or 0
        except SystemExit as stop:  # --help, --version, or a wrong option
            code = stop.code
        if sys.stdout is not None:  # None: started with the stream closed
            sys.stdout.flush()  # not at exit, where an error cannot be caught
        _settle(sys.stderr)
        return code
    except KeyboardInterrupt as stop:   # which says more where there is more to say
        return _fail(str(stop) or "interrupted", INTERRUPTED, prefix="fastbp:")
    except BrokenPipeError:
        _settle(sys.stdout)
        _settle(sys.stderr)
        return READER_GONE
    except OSError as error:
        _settle(sys.stdout)
        if _is_of_a_pipe(error):
            _settle(sys.stderr)
            return READER_GONE
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    except MemoryError as error:
        return _fail(f"out of memory. {error}")
    except (ValueError, OverflowError, ImportError) as error:
        return _fail(str(error))


def _is_of_a_pipe(error):
    """Whether it says what Windows says instead of BrokenPipeError."""
    return os.name == "nt" and error.errno == errno.EINVAL and error.filename is None


def _fail(message, code=2, prefix="fastbp: error:"):
    """Print a message to stderr and return the exit code."""
    try:
        if sys.stderr is not None:  # None: started with the stream closed
            _screen.show(prefix, " ".join(message.split()), len(prefix) + 1, sys.stderr)
    except OSError:
        _settle(sys.stderr)
    return code


def _settle(stream):
    """Flush a stream; if that cannot be done, make sure that the flush at exit does not try."""
    try:
        if stream is not None:
            stream.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


class _Help(argparse.HelpFormatter):
    """Help that is wrapped as all other texts are, and nowhere wider than WIDEST_HELP."""

    def __init__(self, prog, **options):
        width = min(shutil.get_terminal_size().columns, WIDEST_HELP) - 2
        super().__init__(prog, **{"width": width, **options})

    def _split_lines(self, text, width):
        return _screen.wrap(" ".join(text.split()), width)

    def _fill_text(self, text, width, indent):
        return "\n".join(indent + line for line in self._split_lines(text, width - len(indent)))


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage before it."""

    def __init__(self, **options):
        super().__init__(**{"formatter_class": _Help, **options})

    def error(self, message):
        kind, _, words = message.partition(": ")
        if kind == "unrecognized arguments" and any(map(os.path.isfile, words.split())):
            message += "; several files are one pattern in quotes, such as 'part-*.csv'"
        self.exit(_fail(message))


def _parser():
    parser = _Parser(
        prog="fastbp", description="Exact gradients of multilayer perceptrons on a CPU."
    )
    parser.add_argument("--version", action="version", version=f"fastbp {fastbp.__version__}")
    parser.set_defaults(run=lambda _: print(parser.format_help(), end=""))
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    options.add_train(commands, _train)
    options.add_predict(commands, _predict)
    options.add_explain(commands, _explain)
    _add_check(commands)
    _add_bench(commands)
    what = "show version, instruction sets and threads"
    info = commands.add_parser("info", help=what, description=what)
    info.set_defaults(run=_info)
    return parser


def _add_check(commands):
    what = "check gradients, sigma, tanh and bits on this machine; exit status 1 if any is off"
    check = commands.add_parser("check", help=what, description=(
        f"{what}. Gradients are held to their error bounds, sigma and tanh to 1 ulp, digests of "
        "the results to levels L0 to L3 of the promise, L4 on ARM, and L5: the same bits from call "
        "to call, for any number of threads, for any batch around a sample, for each kernel "
        "variant with FMA, as recorded on x86-64, and of networks together as alone. A variant is "
        "the kernels for one instruction set."))
    check.add_argument("-v", "--verbose", action="store_true",
                       help="print a line for each check of each variant, with digests, not six "
                            "lines of all; a check that fails is printed in full either way")
    check.set_defaults(run=_check)


def _add_bench(commands):
    what = "time fastbp beside the peers that are installed, each verified first"
    bench = commands.add_parser("bench", help=what, description=what)
    bench.add_argument("--networks", metavar="LIST", help="such as 2-8-8-1,30-64-64-1")
    bench.add_argument("--suite", metavar="LIST",
                       help="of all, record (the default), widths, tiny, middle, large, few-rows, "
                            "fits, beyond, population, threads")
    bench.add_argument("--dtype", choices=("float32", "float64"), help="(default: both)")
    bench.add_argument("--activation", choices=tuple(_arguments.ACTIVATIONS),
                       default=_arguments.DEFAULTS["activation"],
                       help="of the hidden units; default %(default)s")
    bench.add_argument("--loss", choices=tuple(_arguments.LOSSES),
                       default=_arguments.DEFAULTS["loss"],
                       help="default %(default)s; softmax needs two outputs")
    bench.add_argument("--quick", action="store_true",
                       help="fewer networks and repetitions, without torch.compile")
    bench.add_argument("--threads", action="store_true",
                       help="only fastbp itself, on 1, 2, 4, ... threads")
    bench.add_argument("--population", action="store_true",
                       help="only many networks at once; the same as --suite population")
    bench.add_argument("--json", metavar="FILE", help="write the measurements here")
    bench.add_argument("--plot", metavar="STEM",
                       help="draw STEM-speedup.png and STEM-roofline.png, of populations "
                            "STEM-networks.png")
    bench.add_argument("--from", dest="from_file", metavar="FILE",
                       help="print and draw what --json wrote, without measuring")
    bench.set_defaults(run=_bench)


def _train(args):
    from fastbp._command import train

    return train.run(args)


def _predict(args):
    from fastbp._command import predict

    return predict.run(args)


def _explain(args):
    from fastbp._command import explain

    return explain.run(args)


def _check(args):
    from fastbp._command import check

    return check.run(args)


def _bench(args):
    from fastbp._command.bench import command

    return command.run(args)


def _info(args):
    fastbp.show_config()
    return 0
