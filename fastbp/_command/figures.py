"""matplotlib, which only --plot needs."""


def import_figure():
    """matplotlib's Figure, or an ImportError that says what to install."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("--plot needs matplotlib: pip install 'fastbp[plot]'") from None
    return Figure


def settings():
    """matplotlib's rcParams, which a plot is drawn under."""
    from matplotlib import rcParams

    return rcParams
