"""The equations in NumPy, behind the face of `fastbp.reference`: nothing here is compiled.

    mathematics  E1 to E6 without checks, in any float or complex dtype
    problem      the checked arguments of a gradient
    per_sample   the gradient of each sample, its norm, a clipped sum
    inputs       dL/dX, and the derivatives of the outputs of each sample
    second_order E8 and E9: products of the Hessian and of its Gauss-Newton part
    optimizers   SGD and Adam
    rounding     values with bounds on their errors: sums and products
    bounds       the bounds of activations and losses
    error_bound  the running error bound of a whole gradient
"""
