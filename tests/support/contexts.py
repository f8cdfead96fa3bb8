"""A plugin of pytest: every test of a run in each context that FASTBP_TEST_CONTEXTS names.

    FASTBP_TEST_CONTEXTS=set_default_device PYTHONPATH=tests/support pytest -p contexts tests/torch

No test is here.
"""

import os

import pytest


@pytest.fixture(autouse=True, params=os.environ["FASTBP_TEST_CONTEXTS"].split(","))
def context(request):
    import torch
    from tensors import CONTEXTS

    name = request.param
    with torch.inference_mode() if name == "inference_mode" else CONTEXTS[name]():
        yield
