# SPDX-License-Identifier: GPL-2.0-or-later
from hypothesis import given
from hypothesis import strategies as st

from vmm.display.rfb.security import (
    AttemptLimiter,
    encrypt_challenge,
    new_challenge,
    response_is_right,
)
from vmm.display.vnc.password import Password


def test_the_response_is_des_with_reversed_bits() -> None:
    # RFB's DES under the key that reversal leaves alone is plain DES: FIPS 81's first example has
    # the key 0123456789abcdef, here reversed byte by byte.
    password = bytes.fromhex("80c4a2e691d5b3f7")
    challenge = b"Now is t" * 2
    assert encrypt_challenge(password, challenge) == bytes.fromhex("3fa40e8a984d4815") * 2


def test_only_eight_bytes_of_a_password_count() -> None:
    challenge = new_challenge()
    assert encrypt_challenge(b"12345678", challenge) == encrypt_challenge(b"123456789", challenge)
    assert encrypt_challenge(b"1234567", challenge) != encrypt_challenge(b"12345678", challenge)


@given(st.one_of(st.none(), st.binary(max_size=8)), st.binary(max_size=32))
def test_what_is_not_the_response_is_wrong(password: bytes | None, response: bytes) -> None:
    challenge = new_challenge()
    assert not response_is_right(password, challenge, response)
    if password is not None:
        assert response_is_right(password, challenge, encrypt_challenge(password, challenge))


def test_without_a_password_nothing_is_right() -> None:
    challenge = new_challenge()
    assert not response_is_right(None, challenge, encrypt_challenge(b"", challenge))


def test_challenges_differ() -> None:
    assert len({new_challenge() for _ in range(100)}) == 100


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_after_five_attempts_an_address_waits_longer_each_time() -> None:
    clock = Clock()
    limiter = AttemptLimiter(clock)
    assert [limiter.begin("a") for _ in range(6)] == [True] * 5 + [False]
    assert limiter.begin("b")
    waits = []
    for _ in range(8):
        start = clock.now
        while not limiter.begin("a"):
            clock.now += 1
        waits.append(clock.now - start)
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]


def test_a_success_forgets_the_attempts() -> None:
    limiter = AttemptLimiter(Clock())
    for _ in range(20):
        assert limiter.begin("a")
        limiter.succeeded("a")


def test_the_number_of_addresses_is_bounded() -> None:
    limiter = AttemptLimiter(Clock())
    for number in range(3 * AttemptLimiter.MAX_ADDRESSES):
        assert limiter.begin(str(number))
    assert len(limiter._attempts) == AttemptLimiter.MAX_ADDRESSES


def test_patience_does_not_overflow_the_wait() -> None:
    clock = Clock()
    limiter = AttemptLimiter(clock)
    for _ in range(5000):
        assert limiter.begin("a")
        clock.now += 301


def test_addresses_of_one_ipv6_network_guess_as_one() -> None:
    password = Password(lambda: 0.0)
    for number in range(AttemptLimiter.FREE_ATTEMPTS):
        assert password.refusal(f"2001:db8::{number:x}") is None
    assert password.refusal("2001:db8::ffff:1") is not None
    assert password.refusal("2001:db8:0:1::1") is None
    assert [password.refusal(f"192.0.2.{number}") for number in range(9)] == [None] * 9
    assert [password.refusal("") for _ in range(9)].count(None) == AttemptLimiter.FREE_ATTEMPTS
