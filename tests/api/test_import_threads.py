"""A thread may import fastbp while another unpickles, or imports, what belongs to it."""

import pickle

import pytest
from calling import in_process

import fastbp

# One thread imports fastbp. As it comes to a module, which an audit hook tells, another does
# something, and is done or waits for the first one, which then goes on.
SCRIPT = """
import pickle, sys, threading
where, what, path = sys.argv[1:]
first, ends, errors = threading.get_ident(), threading.Event(), []

def other():
    try:
        if what == "unpickle":
            with open(path, "rb") as file:
                pickle.load(file)
        else:
            exec(what, {})
    except BaseException as error:
        errors.append(error)
    ends.set()

thread = threading.Thread(target=other)

def come(event, arguments):
    if event == "import" and arguments[0] == where and threading.get_ident() == first:
        if not thread.ident:
            thread.start()
            ends.wait(0.1)

sys.addaudithook(come)
import fastbp
fastbp.MLP([3, 1]).backprop([[1, 2, 3]], [1])
assert thread.ident, "it did not come to " + where
thread.join()
if errors:
    raise errors[0]
"""


@pytest.mark.parametrize("what", ["unpickle", "import fastbp._population", "import fastbp._calls",
                                  "from fastbp import MLP", "import fastbp.reference"])
@pytest.mark.parametrize("where", ["numpy", "fastbp._kernels.dispatch", "fastbp._config",
                                   "fastbp._engine.plan", "fastbp._mlp", "fastbp._network"])
def test_another_thread(where, what, tmp_path):
    path = tmp_path / "net"
    path.write_bytes(pickle.dumps((fastbp.MLP([3, 1]), fastbp.Population(2, [3, 1]))))
    in_process(SCRIPT, where, what, str(path))
