"""What makes a network, or an estimator, of a value that is none: the end of a message.

The libraries are not imported; a class is known by its name and the library that it is of.
"""


def _is_of(value, library, *names):
    """Whether the class of a value, or one it inherits from, is that of a library."""
    return any(kind.__module__.partition(".")[0] == library and kind.__name__ in names
               for kind in type(value).__mro__)


def way_to_a_network(value):
    """Where a `fastbp.MLP` is asked for: ": take its .net", and so on; "" where nothing helps."""
    if _is_of(value, "fastbp", "SavedModel"):
        return ": take its .net"
    if hasattr(value, "to_network") and not isinstance(value, type):
        return ": take its to_network()"
    way = way_to_a_model(value)
    if _is_of(value, "sklearn", "MLPClassifier", "MLPRegressor"):
        way += ".to_network()"
    return way


def way_to_a_model(value):
    """The same where estimators of fastbp.sklearn are taken too."""
    for name in ("MLPClassifier", "MLPRegressor"):
        if _is_of(value, "sklearn", name):
            return f": take fastbp.sklearn.{name}.from_sklearn(it)"
    if _is_of(value, "torch", "Sequential"):
        return ": take fastbp.torch.from_torch(it, loss)"
    if _is_of(value, "sklearn", "BaseSearchCV"):
        return (": take its best_estimator_" if hasattr(value, "best_estimator_") else
                ": fit it with refit=True")
    return ""
