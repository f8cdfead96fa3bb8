"""safetensors: the library, headers that do not change from run to run, and digests of arrays."""

import hashlib
import json

import numpy as np


def import_safetensors():
    """Return safetensors with its NumPy part, or raise an ImportError that names the extra."""
    try:
        import safetensors
        import safetensors.numpy
    except ImportError:
        raise ImportError(
            "model files need safetensors: pip install 'fastbp[io]' or 'fastbp[cli]'"
        ) from None
    return safetensors


def sorted_header(content):
    """Return a safetensors file with the keys of its header sorted.

    The library writes the metadata in the order of a hash map, which changes from run to run.
    """
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":"))
    encoded = header.encode()
    encoded += b" " * (-len(encoded) % 8)  # the format aligns the tensors to 8 bytes
    return len(encoded).to_bytes(8, "little") + encoded + content[8 + size :]


def digest(*arrays):
    """The SHA-256, in hexadecimal digits, of the arrays in their order.

    Of each its dtype with the byte order, its shape, its elements in C order, and a mark of its
    end; None counts as the mark alone.

    Parameters
    ----------
    *arrays : ndarray or None

    Returns
    -------
    str
    """
    found = hashlib.sha256()
    for array in arrays:
        if array is not None:
            found.update(f"{array.dtype.str}{array.shape}".encode())
            found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        found.update(b";")
    return found.hexdigest()
