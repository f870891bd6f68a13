# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user gave, together with where: every error about it begins with that place."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from vmm import keyval
from vmm.errors import VmmError


class OptionError(VmmError):
    """A wrong command line or machine file: nothing was started, status 2."""


@contextmanager
def blamed_on(place: Callable[[str], str]) -> Iterator[None]:
    """Errors in the block become an OptionError that begins with the place.

    Args:
        place: from the key that an error names (its ``key``, often empty) to where it stands.
    """
    try:
        yield
    except OptionError:
        raise
    except (VmmError, ValueError) as error:
        raise OptionError(f"{place(getattr(error, 'key', ''))}: {error}") from None


@dataclass(frozen=True)
class Setting:
    """One value, and the words for where it stands: ``--smp 17``, ``machine.toml:3: smp``."""

    value: object
    place: Callable[[], str]

    def convert(self, convert: Callable[[object], object]) -> object:
        """The value converted.

        Raises:
            OptionError: it cannot be.
        """
        with blamed_on(lambda _key: self.place()):
            return convert(self.value)


@dataclass(frozen=True)
class Given:
    """A set of keys and values: one --object, one [[drive]] table."""

    values: Mapping[str, object]
    place: Callable[[str], str]


def from_text(option: str, text: str, implied: str | None = None, bare: str = "") -> Given:
    """What a command line gave as ``option text``.

    Raises:
        OptionError: neither key=value pairs nor JSON.
    """

    def place(_key: str) -> str:
        return f"{option} {text}"

    with blamed_on(place):
        return Given(keyval.parse(text, implied, bare), place)
