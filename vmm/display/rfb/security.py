# SPDX-License-Identifier: GPL-2.0-or-later
"""VNC authentication (RFC 6143 section 7.2.2) and who may try it how often."""

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

CHALLENGE_BYTES = 16
MAX_PASSWORD_BYTES = 8
"""DES has a key of eight bytes: the protocol ignores what follows."""


def encrypt_challenge(password: bytes, challenge: bytes) -> bytes:
    """The response that proves knowledge of the password.

    DES in ECB mode, keyed with the password's first eight bytes, the bits of each byte reversed.
    """
    padded = password[:MAX_PASSWORD_BYTES].ljust(MAX_PASSWORD_BYTES, b"\0")
    key = bytes(int(f"{byte:08b}"[::-1], 2) for byte in padded)
    # Triple DES with one key three times is DES.
    encryptor = Cipher(TripleDES(key * 3), modes.ECB()).encryptor()
    return encryptor.update(challenge) + encryptor.finalize()


class Authenticator(Protocol):
    """Decides about a connection that chose VNC authentication."""

    def refusal(self) -> str | None:
        """Why it may not even try now, or None; counts as an attempt."""

    def check(self, challenge: bytes, response: bytes) -> bool:
        """Whether the response fits the password."""


def new_challenge() -> bytes:
    """Sixteen random bytes."""
    return secrets.token_bytes(CHALLENGE_BYTES)


def response_is_right(password: bytes | None, challenge: bytes, response: bytes) -> bool:
    """Compare in constant time. Without a password nothing is right, as in QEMU."""
    expected = encrypt_challenge(password if password is not None else b"", challenge)
    return hmac.compare_digest(expected, response) and password is not None


class AttemptLimiter:
    """Slows down who guesses passwords: after some attempts an address must wait.

    Attempts count when they begin, so parallel connections gain nothing. Each attempt beyond the
    free ones doubles the wait; a success forgets the address.

    Args:
        clock: seconds, monotonic.
    """

    FREE_ATTEMPTS = 5
    FIRST_WAIT_SECONDS = 10.0
    LONGEST_WAIT_SECONDS = 300.0
    MAX_ADDRESSES = 1024

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._attempts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def begin(self, address: str) -> bool:
        """Count an attempt; False: this address must wait, the attempt does not take place."""
        count, not_before = self._attempts.pop(address, (0, 0.0))
        now = self._clock()
        allowed = now >= not_before
        if allowed:
            count += 1
            if count >= self.FREE_ATTEMPTS:
                # The exponent is bounded, or a patient guesser overflows it.
                doublings = min(count - self.FREE_ATTEMPTS, 16)
                wait = self.FIRST_WAIT_SECONDS * 2.0**doublings
                not_before = now + min(wait, self.LONGEST_WAIT_SECONDS)
        self._attempts[address] = (count, not_before)
        while len(self._attempts) > self.MAX_ADDRESSES:
            self._attempts.popitem(last=False)
        return allowed

    def succeeded(self, address: str) -> None:
        """Forget the attempts of an address."""
        self._attempts.pop(address, None)
