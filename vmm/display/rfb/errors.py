# SPDX-License-Identifier: GPL-2.0-or-later
"""The one error of the protocol layers."""


class RfbError(Exception):
    """The peer broke the protocol or a limit: the connection must end. One line says why."""
