# SPDX-License-Identifier: GPL-2.0-or-later
"""The errors of the profiler that are meant for people.

    UserError            one line and an exit status; the command line prints it, nothing else
      RecordingError     the recording cannot be used: missing, foreign, damaged, too new

Everything else that is raised is a bug and may show a traceback.
"""

EXIT_VIOLATED = 1
"""Exit status: the command ran and what it checked does not hold."""

EXIT_UNUSABLE = 2
"""Exit status: the command could not run on what it was given."""


class UserError(Exception):
    """A condition the user can act on.

    `message` is one line without a final full stop; `exit_code` is the exit status of a command
    that ends because of it (1 to 125).
    """

    def __init__(self, message: str, exit_code: int = EXIT_UNUSABLE) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code


class RecordingError(UserError):
    """A recording cannot be read: missing, not a recording, damaged, of another version."""
