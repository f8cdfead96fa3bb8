"""Products with a vector as the operators of SciPy, which is imported with this module."""

try:
    from scipy.sparse.linalg import LinearOperator
except ImportError as error:
    if (error.name or "").partition(".")[0] != "scipy":
        raise
    raise ImportError("a LinearOperator needs SciPy: pip install 'fastbp[sklearn]', or scipy"
                      ) from error


class Symmetric(LinearOperator):
    """The (n, n) operator of a symmetric matrix, from its product with a vector (n,).

    It is copied and pickled with the object whose method the product is.
    """

    def __init__(self, product, n, dtype):
        super().__init__(dtype, (n, n))
        self.product = product

    def _matvec(self, v):       # SciPy gives (n,) or (n, 1), and gives the result the same shape
        return self.product(v.reshape(-1))

    def _adjoint(self):
        return self

    def _transpose(self):
        return self
