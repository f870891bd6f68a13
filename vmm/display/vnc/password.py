# SPDX-License-Identifier: GPL-2.0-or-later
"""A display's password: set by a monitor or from a file, may expire, guessed slowly."""

import ipaddress
import time
from collections.abc import Callable
from pathlib import Path

from vmm.display.rfb.security import MAX_PASSWORD_BYTES, AttemptLimiter, response_is_right
from vmm.errors import VmmError

_MAX_FILE_BYTES = 4096


class Password:
    """The password and who tried it. Until one is set nobody gets in, as with QEMU.

    Args:
        monotonic: seconds, for the waiting time of who guesses.
        wall: seconds since the epoch, for expiry.
    """

    def __init__(
        self, monotonic: Callable[[], float], wall: Callable[[], float] = time.time
    ) -> None:
        self._limiter = AttemptLimiter(monotonic)
        self._wall = wall
        self._password: bytes | None = None
        self._expires: float | None = None

    def set(self, text: str | None) -> None:
        """Use another password, or none.

        Raises:
            VmmError: longer than the eight bytes that the protocol looks at.
        """
        data = text.encode() if text is not None else None
        if data is not None and len(data) > MAX_PASSWORD_BYTES:
            raise VmmError(
                f"a VNC password has at most {MAX_PASSWORD_BYTES} bytes: the protocol ignores more"
            )
        self._password = data

    def read(self, path: Path) -> None:
        """Use the first line of a file.

        Raises:
            VmmError: it cannot be read, or is no password.
        """
        try:
            with path.open("rb") as file:
                text = file.read(_MAX_FILE_BYTES).split(b"\n")[0].rstrip(b"\r").decode()
        except OSError as error:
            raise VmmError(f"VNC: password-file={path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise VmmError(f"VNC: password-file={path}: not text") from None
        if not text:
            raise VmmError(f"VNC: password-file={path}: its first line is empty")
        self.set(text)

    def expire(self, when: float | None) -> None:
        """Not valid from that time on (seconds since the epoch); None: it does not expire."""
        self._expires = when

    def refusal(self, host: str) -> str | None:
        """Why this host may not try now; counts as an attempt."""
        return (
            None if self._limiter.begin(_guesser(host)) else "too many attempts, wait and try again"
        )

    def check(self, host: str, challenge: bytes, response: bytes) -> bool:
        """Whether the response fits; a success forgets the host's attempts."""
        expired = self._expires is not None and self._wall() >= self._expires
        right = response_is_right(self._password, challenge, response) and not expired
        if right:
            self._limiter.succeeded(_guesser(host))
        return right


def _guesser(host: str) -> str:
    """Whose attempts count together: an IPv6 host can have all 2**64 addresses of its network."""
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return host
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
