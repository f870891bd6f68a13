# SPDX-License-Identifier: GPL-2.0-or-later
"""Any driver, honest or hostile, against a plain model of a split virtqueue.

The model walks the same bytes in guest memory with its own code; the queue must deliver exactly
the same chains and break exactly when the model says so.
"""

import struct
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from vmm._native import ffi, lib

REGIONS = ((0, 0x20000), (0x20000, 0x8000))  # neighbours, but no span may cross
RAM_END = 0x28000
DESC, AVAIL, USED, TABLE = 0x1000, 0x2000, 0x3000, 0x4000
TABLE_ENTRIES = 24
NEXT, WRITE, INDIRECT = 1, 2, 4
WRAP = 0x10000


class BrokenError(Exception):
    """The model says that the driver broke the protocol."""


@dataclass
class Chain:
    head: int
    out: list[tuple[int, int]] = field(default_factory=list)
    into: list[tuple[int, int]] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(size for _, size in self.out + self.into)


def in_ram(addr: int, size: int) -> bool:
    return any(base <= addr and addr + size <= base + length for base, length in REGIONS)


class Model:
    """What the specification says, on top of a function that reads guest memory."""

    def __init__(self, memory: "Memory", size: int, event_idx: bool, indirect: bool) -> None:
        self.memory = memory
        self.size = size
        self.event_idx = event_idx
        self.indirect = indirect
        self.broken = False
        self.last_avail = 0
        self.used = 0
        self.signalled: int | None = None
        self.pushed_since = 0
        self.inuse = 0

    def avail_idx(self) -> int:
        return self.memory.u16(AVAIL + 2)

    def has_work(self) -> bool:
        return not self.broken and self.avail_idx() != self.last_avail

    def pop(self) -> Chain | None:
        if not self.has_work():
            if self.broken:
                raise BrokenError
            return None
        waiting = (self.avail_idx() - self.last_avail) % WRAP
        try:
            if waiting > self.size or self.inuse >= self.size:
                raise BrokenError
            chain = self.walk(self.memory.u16(AVAIL + 4 + 2 * (self.last_avail % self.size)))
        except BrokenError:
            self.broken = True
            raise
        self.last_avail = (self.last_avail + 1) % WRAP
        self.inuse += 1
        return chain

    def walk(self, head: int) -> Chain:
        chain = Chain(head)
        base, entries, nested, index = DESC, self.size, False, head
        while True:
            if index >= entries:
                raise BrokenError
            addr, size, flags, following = self.memory.desc(base + 16 * index)
            if flags & INDIRECT:
                if not self.indirect or nested or flags & NEXT or not size or size % 16:
                    raise BrokenError
                if not in_ram(addr, size):
                    raise BrokenError
                base, entries, nested, index = addr, size // 16, True, 0
                continue
            self.add(chain, addr, size, flags)
            if not flags & NEXT:
                return chain
            index = following

    def add(self, chain: Chain, addr: int, size: int, flags: int) -> None:
        if len(chain.out) + len(chain.into) == self.size or not size or not in_ram(addr, size):
            raise BrokenError
        if chain.total + size > 1 << 32:
            raise BrokenError
        if flags & WRITE:
            chain.into.append((addr, size))
        elif chain.into:
            raise BrokenError
        else:
            chain.out.append((addr, size))

    def push(self) -> None:
        self.inuse -= 1
        if not self.broken:
            self.used = (self.used + 1) % WRAP
            self.pushed_since += 1

    def should_notify(self) -> bool:
        if self.broken:
            return False
        if not self.event_idx:
            return not self.memory.u16(AVAIL) & 1
        event = self.memory.u16(AVAIL + 4 + 2 * self.size)
        old, self.signalled = self.signalled, self.used
        pushed, self.pushed_since = self.pushed_since, 0
        # Indices that completions since the last decision moved past.
        passed = {(self.used - 1 - i) % WRAP for i in range(pushed)}
        return old is None or event in passed


class Memory:
    """Guest memory as the driver sees it."""

    def __init__(self) -> None:
        self.native = lib.guest_memory_new()
        for base, size in REGIONS:
            assert lib.guest_memory_add_ram(self.native, base, size) == 0

    def read(self, addr: int, size: int) -> bytes:
        buffer = ffi.new("char[]", size)
        assert lib.guest_memory_read(self.native, addr, buffer, size) == 0
        return bytes(ffi.buffer(buffer, size))

    def write(self, addr: int, data: bytes) -> None:
        assert lib.guest_memory_write(self.native, addr, data, len(data)) == 0

    def u16(self, addr: int) -> int:
        return int(struct.unpack("<H", self.read(addr, 2))[0])

    def set_u16(self, addr: int, value: int) -> None:
        self.write(addr, struct.pack("<H", value % WRAP))

    def desc(self, addr: int) -> tuple[int, int, int, int]:
        # An indirect table may lie anywhere, so its entries may cross the region border.
        raw = b"".join(self.read(addr + i, 1) for i in range(16))
        addr_, size, flags, following = struct.unpack("<QIHH", raw)
        return int(addr_), int(size), int(flags), int(following)


addresses = st.one_of(
    st.integers(0x8000, 0x9000),
    st.sampled_from([0, TABLE, TABLE + 16, 0x1FFFF, 0x20000, RAM_END - 1, RAM_END, (1 << 64) - 1]),
)
lengths = st.one_of(
    st.integers(1, 64),
    st.sampled_from([0, 16, 32, 16 * TABLE_ENTRIES, 17, 0x10000, 0x20001, 0xFFFFFFFF]),
)
flag_bits = st.sampled_from([0, 0, NEXT, NEXT, WRITE, WRITE | NEXT, INDIRECT, INDIRECT | WRITE, 7])
indices = st.one_of(st.integers(0, 9), st.sampled_from([TABLE_ENTRIES, 0xFFFF]))


class VirtqueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory()
        self.queue = ffi.new("VirtQueue *")
        lib.virtqueue_init(self.queue, self.memory.native)
        self.iov = ffi.new("struct iovec[]", 16)
        self.popped: list[object] = []
        self.base = int(ffi.cast("uintptr_t", lib.guest_memory_ptr(self.memory.native, 0, 1)))
        self.base2 = int(
            ffi.cast("uintptr_t", lib.guest_memory_ptr(self.memory.native, REGIONS[1][0], 1))
        )

    def teardown(self) -> None:
        lib.guest_memory_free(self.memory.native)

    @initialize(size=st.sampled_from([1, 2, 4, 8]), event_idx=st.booleans(), indirect=st.booleans())
    def start(self, size: int, event_idx: bool, indirect: bool) -> None:
        lib.virtqueue_reset(self.queue)
        for addr in (DESC, AVAIL, USED, TABLE):
            self.memory.write(addr, bytes(0x800))
        queue = self.queue
        queue.size, queue.event_idx, queue.indirect = size, event_idx, indirect
        queue.desc_gpa, queue.avail_gpa, queue.used_gpa = DESC, AVAIL, USED
        assert lib.virtqueue_start(queue) == 0
        self.model = Model(self.memory, size, event_idx, indirect)
        self.popped = []
        self.offered = 0

    @rule(size=st.sampled_from([1, 4, 8]), event_idx=st.booleans(), indirect=st.booleans())
    def reset(self, size: int, event_idx: bool, indirect: bool) -> None:
        self.start(size, event_idx, indirect)

    @rule(
        table=st.sampled_from([DESC, DESC, TABLE]),
        slot=st.integers(0, 7),
        addr=addresses,
        size=lengths,
        flags=flag_bits,
        following=indices,
    )
    def write_any_descriptor(
        self, table: int, slot: int, addr: int, size: int, flags: int, following: int
    ) -> None:
        self.memory.write(table + 16 * slot, struct.pack("<QIHH", addr, size, flags, following))

    @rule(cut=st.integers(0, 8), into=st.integers(0, 8), in_table=st.booleans(), first=indices)
    def write_valid_chain(self, cut: int, into: int, in_table: bool, first: int) -> None:
        total = max(1, min(cut + into, self.model.size))
        base = TABLE if in_table and self.model.indirect else DESC
        for i in range(total):
            flags = (NEXT if i + 1 < total else 0) | (WRITE if i >= cut else 0)
            raw = struct.pack("<QIHH", 0x8000 + 64 * i, i + 1, flags, i + 1)
            self.memory.write(base + 16 * i, raw)
        if base == TABLE:
            slot = first % self.model.size
            raw = struct.pack("<QIHH", TABLE, 16 * total, INDIRECT, 0)
            self.memory.write(DESC + 16 * slot, raw)

    @rule(head=st.one_of(st.integers(0, 7), st.just(0xFFFF)))
    def offer(self, head: int) -> None:
        slot = self.offered % self.model.size
        self.memory.set_u16(AVAIL + 4 + 2 * slot, head)
        self.offered = (self.offered + 1) % WRAP
        self.memory.set_u16(AVAIL + 2, self.offered)

    @precondition(lambda self: not self.model.broken)
    @rule(by=st.sampled_from([1, 2, 8, 9, 0x7FFF, 0xFFFF]))
    def jump_the_index(self, by: int) -> None:
        self.offered = (self.offered + by) % WRAP
        self.memory.set_u16(AVAIL + 2, self.offered)

    def gpa_of(self, pointer: object) -> int:
        address = int(ffi.cast("uintptr_t", pointer))
        if self.base <= address < self.base + REGIONS[0][1]:
            return address - self.base
        return address - self.base2 + REGIONS[1][0]

    @rule()
    def pop(self) -> None:
        element = ffi.new("VirtQueueElement *")
        got = lib.virtqueue_pop(self.queue, element, self.iov, 16)
        try:
            chain = self.model.pop()
        except BrokenError:
            assert got < 0
            return
        if chain is None:
            assert got == 0
            return
        assert got == 1
        assert element.head == chain.head
        spans = [
            (self.gpa_of(self.iov[i].iov_base), self.iov[i].iov_len)
            for i in range(element.out_num + element.in_num)
        ]
        assert spans[: element.out_num] == chain.out
        assert spans[element.out_num :] == chain.into
        assert element.out_bytes == sum(size for _, size in chain.out)
        assert element.in_bytes == sum(size for _, size in chain.into)
        self.popped.append(element)

    @precondition(lambda self: self.popped)
    @rule(written=st.integers(0, 0xFFFFFFFF), which=st.integers(0, 7))
    def push(self, written: int, which: int) -> None:
        element = self.popped.pop(which % len(self.popped))
        slot = USED + 4 + 8 * (self.model.used % self.model.size)
        before = self.memory.read(slot, 8)
        broken = self.model.broken
        lib.virtqueue_push(self.queue, element, written)
        self.model.push()
        entry = struct.pack("<II", element.head, written)  # type: ignore[attr-defined]
        assert self.memory.read(slot, 8) == (before if broken else entry)

    @rule(event=st.integers(-3, 3), flags=st.integers(0, 1))
    def decide_to_interrupt(self, event: int, flags: int) -> None:
        self.memory.set_u16(AVAIL, flags)
        self.memory.set_u16(AVAIL + 4 + 2 * self.model.size, self.model.used + event)
        assert lib.virtqueue_should_notify(self.queue) == self.model.should_notify()

    @rule(on=st.booleans())
    def ask_for_kicks(self, on: bool) -> None:
        lib.virtqueue_set_notification(self.queue, on)
        if self.model.broken:
            return
        if not self.model.event_idx:
            assert self.memory.u16(USED) == (0 if on else 1)
        elif on:
            assert self.memory.u16(USED + 4 + 8 * self.model.size) == self.model.last_avail

    @invariant()
    def the_two_agree(self) -> None:
        if not hasattr(self, "model"):
            return
        assert (self.queue.broken != ffi.NULL) == self.model.broken
        assert lib.virtqueue_has_work(self.queue) == self.model.has_work()
        assert self.queue.inuse == self.model.inuse
        assert self.memory.u16(USED + 2) == self.model.used


TestVirtqueue = VirtqueueMachine.TestCase
TestVirtqueue.settings = settings(stateful_step_count=40, deadline=None)
