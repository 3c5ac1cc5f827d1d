"""The one kind of error that is meant for a person: what is wrong, and the fix."""


class MedallionError(Exception):
    """Something the user can fix. The message says what is wrong and then what to do.

    The command line prints it without a traceback and exits with 1; a notebook shows
    the message alone.
    """

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython shows in the place of a traceback."""
        return [f"MedallionError: {self}"]
