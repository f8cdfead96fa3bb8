"""Checks of arguments: which values are accepted, and the errors for all others.

    numbers      numbers, names, sequences
    calls        which arguments a call has
    bridges      what makes a network of something else, for messages
    tables       pandas, polars, Arrow: their columns as arrays; imported when one comes
    arrays       arrays as the kernels take them, and where results are written
    descriptors  all that is particular to an activation or a loss
    losses       the options of a loss
    batches      targets, weights of samples, their order
    networks     layer sizes, weights and biases
    optimizers   hyper-parameters, steps, saved states
    population   what networks of a population share, or have each
    fits         what a fit of many epochs takes
    privacy      clipping, noise, and the draws it is made of
    states       states of copies and pickles

A check returns its argument in the form that the kernels take, or raises: ``TypeError`` for a value
of the wrong kind, ``ValueError`` for one of the right kind that does not fit. A message is one
sentence that names the argument, what it is and what it should be, as in ``X has shape (5, 3); it
should have shape (n_samples, 2)``. Nothing here broadcasts, and nothing here computes. Ranges are
tested after the conversion to the dtype of the computation: those are the values that enter it.
Compiled callers may test a range themselves and come here only to raise. Callers use the names
below, as in ``_arguments.real_array``; a module imports NumPy and those above it in this list.
"""

from .arrays import (
    as_dtype,
    common_dtype,
    converted,
    copies,
    output,
    positive_array,
    real_array,
    refuse_norm,
    samples_or_one,
    shown,
)
from .batches import (
    UNIT_SUM_TOLERANCE,
    at_least_one_sample,
    class_weights,
    logits_and_targets,
    order,
    sample_weight,
    target_array,
    target_range,
    target_values,
    targets,
    weights_with_classes,
)
from .bridges import way_to_a_model, way_to_a_network
from .calls import IN_USE, explained, nearest, public, quiet, unbound
from .descriptors import (
    ACTIVATIONS,
    DEFAULTS,
    LOSSES,
    OUTPUTS,
    ActivationName,
    HiddenActivations,
    LossName,
)
from .fits import (
    client,
    function,
    refuse_losses_of_epochs,
    refuse_of_validation,
    schedule,
    validation,
)
from .losses import LossOptions, loss_options
from .networks import (
    activations,
    addresses,
    distinct_names,
    each_activation,
    flat_vector,
    hidden_activations,
    last_activation,
    layer_arrays,
    layer_lists,
    layer_sizes,
    network_arrays,
    one_for_each_layer,
    refuse_transposed,
    standardisation,
)
from .numbers import (
    as_number,
    bit_generator,
    boolean,
    byte_count,
    choice,
    count,
    counted,
    fraction,
    limit,
    n_threads,
    non_negative,
    positive,
    probability,
    real_dtype,
    sequence,
    string,
)
from .optimizers import (
    beta_powers,
    betas,
    eps_in,
    equally_many,
    first_of_networks,
    flat_gradient,
    is_of_networks,
    nesterov,
    norm_limit,
    optimizer_arrays,
    optimizer_for_networks,
    optimizer_state,
    options_of_network,
    pair,
    refuse_number_of_networks,
    refuse_optimizer,
    refuse_optimizer_of_networks,
    refuse_override,
    saved_powers,
    state_dict,
    state_of_networks,
    state_vectors,
    steps,
    vector_in_range,
)
from .population import (
    active,
    all_or_each,
    distinct,
    each,
    each_batch_losses,
    each_count,
    each_number,
    each_rng,
    each_rows,
    has_each,
    inputs,
    member,
    n_networks,
    networks,
    networks_of_any_kind,
    refuse_both,
    refuse_of_network,
    row_weights,
    rows_with_weight,
    samples_of_networks,
    seeds,
    targets_of_networks,
)
from .privacy import deviation, noise, privacy, raw_draws, refuse_default_size
from .states import attributes_of_state, refuse_state, settable
