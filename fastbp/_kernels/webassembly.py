"""Whether this WebAssembly engine rounds a multiply-add once.

Relaxed SIMD leaves that to the engine, which does as the processor does. An engine without
relaxed SIMD refuses a module that has an instruction of it, so that nothing here can crash.
"""

# Two functions of a and c: a*a + c in float64, and in float32.
_PROGRAM = bytes.fromhex(
    "0061736d 01000000"                             # a module
    "01 0d 02  60 02 7c7c 01 7c  60 02 7d7d 01 7d"  # types: f64 f64 -> f64, f32 f32 -> f32
    "03 03 02 00 01"                                # the functions' types
    "07 09 02  01 64 00 00  01 73 00 01"            # exports: "d", "s"
    "0a 2b 02"                                      # a splat, a splat, c splat, madd, lane 0
    "14 00 2000fd14 2000fd14 2001fd14 fd8702 fd2100 0b"
    "14 00 2000fd13 2000fd13 2001fd13 fd8502 fd1f00 0b")


def rounds_once():
    """Ask the engine of the page, through Pyodide; False without one."""
    try:
        from js import WebAssembly
        from pyodide.ffi import to_js
    except ImportError:
        return False
    program = to_js(_PROGRAM)
    if not WebAssembly.validate(program):
        return False
    functions = WebAssembly.Instance.new(WebAssembly.Module.new(program)).exports
    # (1 + e)^2 - (1 + 2 e) is e^2, which a rounding of the square loses.
    return all(function(1 + e, -1 - 2 * e) == e * e
               for function, e in ((functions.d, 2.0**-30), (functions.s, 2.0**-13)))
