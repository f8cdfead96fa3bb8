"""The `fastbp` command: its options, its exit codes and its one-line errors.

The subcommands are in `train`, `check` and `bench`, each imported when it is asked for.
Results go to stdout, progress and errors to stderr. Exit codes: 0; 1 if `check` finds a deviation;
2 for an error; 130 after Ctrl-C; 141 if the reader of the output has gone, as after `| head`.
"""

import argparse
import io
import math
import os
import sys

import fastbp
from fastbp import _arguments
from fastbp._command.exits import INTERRUPTED, READER_GONE


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
            args = _parser().parse_args(argv)
            code = args.run(args)
        except SystemExit as stop:  # --help, --version, or a wrong option
            code = stop.code
        if sys.stdout is not None:  # None: started with the stream closed
            sys.stdout.flush()  # not at exit, where an error cannot be caught
        return code
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED, prefix="fastbp: ")
    except BrokenPipeError:
        _settle(sys.stdout)
        _settle(sys.stderr)
        return READER_GONE
    except OSError as error:
        _settle(sys.stdout)
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    except MemoryError as error:
        return _fail(f"out of memory. {error}")
    except (ValueError, OverflowError, ImportError) as error:
        return _fail(str(error))


def _fail(message, code=2, prefix="fastbp: error: "):
    """Print one line to stderr and return the exit code."""
    try:
        print(prefix + " ".join(message.split()), file=sys.stderr, flush=True)
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


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage before it."""

    def error(self, message):
        self.exit(_fail(message))


def _parser():
    parser = _Parser(
        prog="fastbp", description="Exact gradients of multilayer perceptrons on a CPU."
    )
    parser.add_argument("--version", action="version", version=f"fastbp {fastbp.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_train(commands)

    what = "check gradients, sigma, tanh and bits on this machine; exit status 1 if any is off"
    check = commands.add_parser("check", help=what, description=(
        f"{what}. Gradients are held to their error bounds, sigma and tanh to 1 ulp, digests of "
        "the results to levels L0 to L3 of the promise, L4 on ARM, and L5: the same bits from call "
        "to call, for any number of threads, for any batch around a sample, for each kernel "
        "variant with FMA, as recorded on x86-64, and of networks together as alone."))
    check.set_defaults(run=_check)

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

    what = "show version, instruction sets and threads"
    info = commands.add_parser("info", help=what, description=what)
    info.set_defaults(run=_info)
    return parser


def _add_train(commands):
    train = commands.add_parser(
        "train",
        help="train a two-class network on a table",
        description="Train a network on a table with two classes; report "
        "accuracy, AUC and loss on held-out rows.",
    )
    add = train.add_argument
    add("data", nargs="?", metavar="DATA", help="CSV, Parquet, JSON or NPZ file, or a pattern of "
        "several; without it the bundled data set")
    add("--target", metavar="NAME", help="column of the labels, if not target, y or label")
    add("--decimal", choices=[".", ","], help="decimal mark of a CSV file; the other one may stand "
        "between thousands; found if not given")
    add("--hidden", type=_sizes, default="16,16", metavar="N,N",
        help="widths of the hidden layers, '' for none; default %(default)s")
    add("--activation", type=_names, default=_arguments.DEFAULTS["activation"], metavar="NAME,NAME",
        help=f"of all hidden layers, or one for each: {', '.join(_arguments.ACTIVATIONS)}; "
        "default %(default)s")
    add("--epochs", type=_whole(1), default=100, metavar="N",
        help="passes over the training rows; default %(default)s")
    add("--batch-size", type=_whole(1), default=32, metavar="N",
        help="rows per step; default %(default)s")
    add("--optimizer", choices=("adam", "sgd"), default="adam",
        help="sgd has momentum 0.9; default %(default)s")
    add("--lr", type=_positive, metavar="X",
        help="learning rate; default 0.005 for adam, 0.1 for sgd")
    add("--l2", type=_real, default=0.1, metavar="X",
        help="half of X times the sum of squared weights is added to a batch's summed loss; "
        "default %(default)s")
    add("--dtype", choices=("float32", "float64"), default="float32",
        help="of the network; default %(default)s")
    add("--test-fraction", type=_real, default=0.25, metavar="X",
        help="share of each class that is held out; default %(default)s")
    add("--seed", type=_whole(0), default=0, metavar="N",
        help="of the split, the weights and the shuffling; default %(default)s")
    add("--out", metavar="MODEL.safetensors", help="save the network, for fastbp.io.load_model")
    add("--plot", metavar="FILE.png", help="draw the losses per epoch")
    train.set_defaults(run=_train)


def _train(args):
    from fastbp._command import train

    return train.run(args)


def _check(args):
    from fastbp._command import check

    return check.run(args)


def _bench(args):
    from fastbp._command.bench import command

    return command.run(args)


def _info(args):
    fastbp.show_config()
    return 0


def _sizes(text):
    """Parse "64,64" to (64, 64) and "" to ()."""
    return tuple(_whole(1)(size) for size in text.split(",")) if text.strip() else ()


def _names(text):
    """Parse "tanh,relu" to ("tanh", "relu") and "tanh" to itself."""
    return tuple(name.strip() for name in text.split(",")) if "," in text else text.strip()


def _whole(least):
    def parse(text):
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
        return number

    return parse


def _positive(text):
    number = _number(text)
    if not 0.0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def _real(text):
    number = _number(text)
    if not 0.0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return number


def _number(text):
    try:
        return float(text)
    except ValueError:
        return math.nan
