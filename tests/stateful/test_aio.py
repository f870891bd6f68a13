# SPDX-License-Identifier: GPL-2.0-or-later
"""Drawn programs on the event loop, each way of waiting and polling against one plain model."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmm._native import ffi, lib

SOURCES, SLOTS = lib.TESTING_AIO_SOURCES, lib.TESTING_AIO_SLOTS
VICTIM, THREADS = lib.TESTING_AIO_VICTIM, lib.TESTING_AIO_THREADS
POLL_NS = 32768
WAYS = [
    pytest.param(lib.AIO_FDMON_EPOLL, 0, id="epoll"),
    pytest.param(lib.AIO_FDMON_IO_URING, 0, id="io_uring"),
    pytest.param(lib.AIO_FDMON_EPOLL, POLL_NS, id="epoll-polling"),
    pytest.param(lib.AIO_FDMON_IO_URING, POLL_NS, id="io_uring-polling"),
]

Op = tuple[int, int, int, int]  # thread, kind, index, value


@dataclass
class Model:
    """What a program leads to, whatever the order of what happens at the same time.

    The values of a source whose handler may go away during a round are not split exactly between
    read and unread: only that a handler still there has read everything is.
    """

    kicked: list[int] = field(default_factory=lambda: [0] * SOURCES)
    settled: list[int] = field(default_factory=lambda: [0] * SOURCES)  # read for certain
    behaviour: list[int | None] = field(default_factory=lambda: [None] * SOURCES)
    announced: list[int] = field(default_factory=lambda: [0] * SLOTS)
    scheduled: list[int] = field(default_factory=lambda: [0] * SLOTS)
    due: list[bool] = field(default_factory=lambda: [False] * SLOTS)
    fired: list[int] = field(default_factory=lambda: [0] * SLOTS)
    watched: list[bool] = field(default_factory=lambda: [False] * SLOTS)
    full: list[bool] = field(default_factory=lambda: [False] * SLOTS)
    oneshots: int = 0
    posts: int = 0

    def apply(self, kind: int, index: int, value: int) -> None:
        if kind == lib.TESTING_AIO_KICK:
            self.kicked[index] += value
        elif kind == lib.TESTING_AIO_SCHEDULE:
            self.announced[index] += 1
        elif kind == lib.TESTING_AIO_ONESHOT:
            self.oneshots += 1
        elif kind == lib.TESTING_AIO_POST:
            self.posts += 1
        elif kind == lib.TESTING_AIO_ADD:
            self.behaviour[index] = value
        elif kind == lib.TESTING_AIO_REMOVE:
            self.behaviour[index] = None
        elif kind == lib.TESTING_AIO_RENEW:
            self.announced[index] = 0
        elif kind == lib.TESTING_AIO_ARM:
            self.due[index] = value >= 0
        elif kind == lib.TESTING_AIO_DISARM:
            self.due[index] = False
        elif kind == lib.TESTING_AIO_WATCH:
            self.watched[index] = bool(value)
        elif kind == lib.TESTING_AIO_FILL:
            self.full[index] = bool(value)

    def run(self, consumed: list[int]) -> None:
        """Let everything due happen; consumed: what handlers have read in reality."""
        for index in range(SLOTS):
            self.scheduled[index] += self.announced[index]
            self.announced[index] = 0
            self.fired[index] += self.due[index]
            self.due[index] = False
        gone: set[int] = set()
        for index, behaviour in enumerate(self.behaviour):
            if behaviour is None or self.kicked[index] == self.settled[index]:
                continue
            if behaviour == lib.TESTING_AIO_REMOVE_SELF:
                gone.add(index)
            elif behaviour >= lib.TESTING_AIO_REMOVE_VICTIM:
                gone.add(VICTIM + behaviour - lib.TESTING_AIO_REMOVE_VICTIM)
        for index in range(SOURCES):
            if index in gone:
                assert self.settled[index] <= consumed[index] <= self.kicked[index]
                if self.behaviour[index] == lib.TESTING_AIO_REMOVE_SELF:
                    assert consumed[index] > self.settled[index]
                if self.behaviour[index] is not None:
                    self.settled[index] = consumed[index]
                self.behaviour[index] = None
            elif self.behaviour[index] is not None:
                self.settled[index] = self.kicked[index]


def ops() -> st.SearchStrategy[Op]:
    """One operation."""
    slot = st.integers(0, SLOTS - 1)
    shared = st.one_of(
        st.tuples(st.just(lib.TESTING_AIO_KICK), st.integers(0, SOURCES - 1), st.integers(1, 1000)),
        st.tuples(st.just(lib.TESTING_AIO_SCHEDULE), slot, st.just(0)),
        st.tuples(
            st.sampled_from(
                [lib.TESTING_AIO_ONESHOT, lib.TESTING_AIO_POST, lib.TESTING_AIO_NOTIFY]
            ),
            st.just(0),
            st.just(0),
        ),
    )
    behaviours = st.integers(lib.TESTING_AIO_CONSUME, lib.TESTING_AIO_REMOVE_VICTIM + 1)
    owned = st.one_of(
        st.tuples(st.just(lib.TESTING_AIO_ADD), st.integers(0, VICTIM - 1), behaviours),
        st.tuples(
            st.just(lib.TESTING_AIO_ADD),
            st.integers(VICTIM, SOURCES - 1),
            st.just(lib.TESTING_AIO_CONSUME),
        ),
        st.tuples(st.just(lib.TESTING_AIO_REMOVE), st.integers(0, SOURCES - 1), st.just(0)),
        st.tuples(st.just(lib.TESTING_AIO_ARM), slot, st.sampled_from([-1, 0, 1000, 200_000])),
        st.tuples(
            st.sampled_from([lib.TESTING_AIO_RENEW, lib.TESTING_AIO_DISARM]), slot, st.just(0)
        ),
        st.tuples(
            st.sampled_from([lib.TESTING_AIO_WATCH, lib.TESTING_AIO_FILL]), slot, st.integers(0, 1)
        ),
    )
    return st.one_of(
        st.builds(lambda thread, op: (thread, *op), st.integers(0, THREADS), shared),
        st.builds(lambda op: (0, *op), owned),
    )


PROGRAMS = st.lists(st.lists(ops(), max_size=40), min_size=1, max_size=5)


def check_round(rig: Any, model: Model, program: list[Op]) -> None:
    array = ffi.new("TestingAioOp[]", program)
    state = ffi.new("TestingAioState *")
    for wanted_owner in (True, False):  # the owner's operations come first
        for thread, kind, index, value in program:
            if (thread == 0) == wanted_owner:
                model.apply(kind, index, value)
    lib.testing_aio_round(rig, array, len(program), state)
    assert not state.stuck
    assert state.strays == 0
    model.run(list(state.consumed))
    assert list(state.consumed) == model.settled
    assert list(state.registered) == [b is not None for b in model.behaviour]
    assert list(state.scheduled) == model.scheduled
    assert list(state.fired) == model.fired
    assert (state.oneshots, state.posts) == (model.oneshots, model.posts)
    assert list(state.ready) == [w and f for w, f in zip(model.watched, model.full, strict=True)]


@pytest.mark.parametrize(("fdmon", "poll_max_ns"), WAYS)
@given(program=PROGRAMS)
def test_no_event_is_lost_whatever_the_program(
    fdmon: int, poll_max_ns: int, program: list[list[Op]]
) -> None:
    rig = lib.testing_aio_new(fdmon, poll_max_ns)
    if rig == ffi.NULL:
        pytest.skip("this way of waiting is not to be had here")
    try:
        model = Model()
        for operations in program:
            check_round(rig, model, operations)
    finally:
        lib.testing_aio_free(rig)
