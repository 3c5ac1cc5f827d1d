"""The one kind of error that is meant for a person."""


class Refused(Exception):
    """What the generator cannot do. The message says what is wrong and then what to do."""
