"""Products with a vector as the operators of SciPy, which is imported with this module."""

try:
    from scipy.sparse.linalg import LinearOperator
except ImportError as error:
    if (error.name or "").partition(".")[0] != "scipy":
        raise
    raise ImportError("a LinearOperator needs SciPy: pip install 'fastbp[sklearn]', or scipy"
                      ) from error


def symmetric(product, n, dtype):
    """The (n, n) operator of a symmetric matrix, from its product with a vector (n,)."""
    def column(v):      # SciPy gives (n,) or (n, 1), and gives the result the same shape
        return product(v.reshape(-1))

    return LinearOperator((n, n), matvec=column, rmatvec=column, dtype=dtype)
