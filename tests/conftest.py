"""Every test that takes `isa` runs on each kernel variant this CPU has; `dtype` on both."""

import pytest

from fastbp._kernels import dispatch


@pytest.fixture(params=dispatch.available_isas())
def isa(request):
    """The variant in use during the test: equation functions, and networks built in it."""
    before = dispatch.get_isa()
    dispatch.set_isa(request.param)
    yield request.param
    dispatch.set_isa(before)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param
