"""The tests of fastbp.torch once more: where tensors are made on another device unless it is named,
where they have another dtype, and within inference mode. In a process of its own.
"""

import os
import subprocess
import sys

import pytest
from places import PYTHONPATH, ROOT, TESTS

pytest.importorskip("torch", reason="the extra torch is not installed")

# What differs with a context: values, gradients, where they go. (Refusals and tools do not.)
PASSES = ["same_bits_as_layers", "gradcheck", "close_to_eager", "leading_axes",
          "any_layout_of_X_and_of_a_gradient", "inside_a_larger_graph", "a_direct_backward",
          "passes_wait_for_their_backward", "what_a_pass_holds_is_free_when_its_graph_is",
          "threads_of_ones_own", "checkpointing", "gradients_add_up_and_are_nobody_elses",
          "a_change_between_forward_and_backward", "memory_that_was_taken_away"]
LOSSES = ["losses_by_name_are_those_of_a_network", "losses_of_pytorch", "what_cannot_be_had",
          "one_output_takes_a_vector", "other_refusals", "where_gradients_go", "accumulation",
          "frozen_tied_and_absent_parameters", "a_sigmoid_at_the_end"]
MODULES = ["state_dict_and_parameters", "copies", "no_grad_and_frozen_parameters",
           "tied_parameters", "edits_of_a_fused_module", "to_another_dtype_and_back", "hooks",
           "sequentials_inside_a_module", "threads_go_back_over_one_graph",
           "freezing_and_unfreezing_between_calls_without_zero_grad"]
ALL = {"test_passes.py": PASSES, "test_losses.py": LOSSES, "test_module.py": MODULES}
# Within inference mode nothing is recorded for a way back.
WITHOUT_A_GRAPH = [
    "losses_by_name_are_those_of_a_network", "what_cannot_be_had", "one_output_takes_a_vector",
    "other_refusals", "where_gradients_go", "accumulation", "a_sigmoid_at_the_end",
    "state_dict_and_parameters", "edits_of_a_fused_module",
    "freezing_and_unfreezing_between_calls_without_zero_grad"]


def test_once_more():
    """One process makes the tests in all contexts: to import PyTorch takes seconds."""
    names = [f"{TESTS / 'torch' / file}::test_{name}"
             for file, names in ALL.items() for name in names]
    chosen = " or ".join(["not inference_mode", *(f"test_{name}" for name in WITHOUT_A_GRAPH)])
    contexts = ("set_default_device", "default dtype float64", "inference_mode")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "contexts",
         "--tb=short", "-k", chosen, *names], cwd=ROOT, capture_output=True, text=True, timeout=600,
        env=os.environ | {"FASTBP_TEST_CONTEXTS": ",".join(contexts), "PYTHONPATH": PYTHONPATH,
                          "MKL_NUM_THREADS": "1"})
    assert run.returncode == 0, (run.stdout + run.stderr)[-4000:]
    assert " passed" in run.stdout and "skipped" not in run.stdout
