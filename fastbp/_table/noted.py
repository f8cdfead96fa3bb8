"""What was seen of numbers in the columns of a table while they were read."""


class Noted:
    """The base of tables.

    Attributes
    ----------
    thousands : bool
        Whether the mark that is not the decimal one may stand between thousands: the caller named
        the decimal mark, or a column that was read shows it.
    shown : str or None
        The decimal mark that was named, or that a number has.
    units : dict of str to str
        What stood behind the numbers of columns that were read.
    told : dict of str to str
        Sentences about columns that were read, whose decimal mark other columns decided, or none.
    """

    def __init__(self, options):
        self.thousands, self.shown = options.decimal is not None, options.decimal
        self.units, self.told = {}, {}

    def note(self, name, found, options):
        """Keep what was `Found` of a column."""
        if found.unit:
            self.units[name] = found.unit
        if found.told and not (options.decimal or options.likely_decimal):
            self.told[name] = found.told
        self.thousands = self.thousands or found.thousands
        self.shown = self.shown or found.decimal or None
