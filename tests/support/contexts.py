"""A plugin of pytest: every test of a run in the context that FASTBP_TEST_CONTEXT names.

    FASTBP_TEST_CONTEXT=set_default_device PYTHONPATH=tests/support pytest -p contexts tests/torch

No test is here.
"""

import os

import pytest


@pytest.fixture(autouse=True)
def context():
    import torch
    from tensors import CONTEXTS

    name = os.environ["FASTBP_TEST_CONTEXT"]
    with torch.inference_mode() if name == "inference_mode" else CONTEXTS[name]():
        yield
