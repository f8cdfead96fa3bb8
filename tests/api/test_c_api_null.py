"""Promise: a function of fastbp.h that gets NULL for what it needs, or a problem of any numbers,
gives a code and writes no output."""

import ctypes
import itertools
import re

import numpy as np
from c_api import API, CODES, HEADER, Functions, Plan, address, addresses, problem


def whole_calls():
    """(function, valid arguments, places of those that may be NULL) of every function."""
    X, y, out, loss = np.ones((1, 3)), np.ones((1, 2)), np.ones((1, 2)), ctypes.c_double(5)
    params, grads = [np.ones((3, 2)), np.ones(2)], [np.ones((3, 2)), np.ones(2)]
    made, vector = problem((3, 2)), np.ones(8)
    plan, other = Plan(made), ctypes.c_void_p()
    kept = X, y, out, params, grads, made, vector
    outputs = plan.at, address(out), addresses(params), address(X), 1
    rest = addresses(params), address(X), address(y), None, 1
    yield "memory", (ctypes.pointer(ctypes.c_size_t()), ctypes.pointer(made)), ()
    yield "new_plan", (ctypes.pointer(other), ctypes.pointer(made)), ()
    yield "spread", ((ctypes.c_void_p * 2)(), address(vector), plan.at), (0,)
    yield "forward", outputs, ()
    yield "logits", outputs, ()
    yield "loss", (plan.at, ctypes.pointer(loss), *rest), (5,)
    yield "gradient", (plan.at, ctypes.pointer(loss), addresses(grads), *rest), (6,)
    yield "free_plan", (plan.at,), (0,)
    assert loss.value != 5 and kept and CODES[API.free_plan(other)] == "OK"


def test_every_pointer_that_is_null():
    """A code, for each pointer of each function by itself, for some, and for all of them."""
    seen = {"version", "size", "message"}
    for name, whole, free in whole_calls():
        function, sign = getattr(API, name), -1 if name == "spread" else 1
        pointers = [i for i, value in enumerate(whole) if value != 1]
        needed = [i for i in pointers if i not in free]
        sets = [set(some) for k in (1, 2) for some in itertools.combinations(needed, k)]
        for missing in [*sets, needed, pointers] if needed else []:
            given = [None if i in missing else value for i, value in enumerate(whole)]
            assert CODES[sign * function(*given)] == "NULL_POINTER", (name, missing)
        for i in free:
            given = [None if i == j else value for j, value in enumerate(whole)]
            assert function(*given) == (8 if name == "spread" else 0), name
        assert function(*whole) == (8 if name == "spread" else 0), name
        seen.add(name)
    assert seen == {name for name, _ in Functions._fields_}
    assert seen == {"version", "size", *re.findall(r"\(\*(\w+)\)\(", HEADER.read_text())}


def test_extreme_problems(capfd):
    """Each is a plan or a code, and Python has no exception left to print."""
    for rows, threads in itertools.product((1, 2**31, 2**62), (0, 256)):
        for sizes in ((1, 1), (2**40, 1), (1, 2**55), (2**58, 1), (2**30, 2**30, 2**30)):
            for dtype in ("float32", "float64"):
                made, size = problem(sizes, dtype, rows=rows, threads=threads), ctypes.c_size_t()
                code = CODES[API.memory(size, ctypes.byref(made))]
                assert code in ("OK", "NO_MEMORY", "BAD_SIZES")
                assert (code == "OK") == (size.value > 0)
                if size.value < 2**20:
                    plan = Plan(made)
                    assert plan.code == code and plan.free() == "OK"
    assert capfd.readouterr() == ("", "")


def test_null_among_the_arrays():
    """No output is written."""
    X, y = np.ones((1, 3)), np.ones((1, 2))
    params, grads = [np.ones((3, 2)), np.ones(2)], [np.ones((3, 2)), np.ones(2)]
    plan, out = Plan(problem((3, 2))), np.ones((1, 2))
    for i in range(2):
        missing = [None if j == i else grad for j, grad in enumerate(grads)]
        assert plan.gradient(missing, params, X, y) == "NULL_POINTER"
        missing = [None if j == i else param for j, param in enumerate(params)]
        assert plan.gradient(grads, missing, X, y) == "NULL_POINTER"
        assert plan.loss(missing, X, y) == "NULL_POINTER"
        assert plan.outputs("forward", out, missing, X) == "NULL_POINTER"
    assert plan.value.value == -1 and all((array == 1).all() for array in (*grads, out))
    plan.free()
