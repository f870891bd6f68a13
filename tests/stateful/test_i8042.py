# SPDX-License-Identifier: GPL-2.0-or-later
"""Any driver, sane or not, and any user, against a plain model of what must arrive.

The model knows which keys were pressed while the keyboard scanned and had room, and which bytes of
them the guest has not read yet; commands that drop what waits drop it there too. Whatever else
happens, those bytes come out in order, and the status register tells the truth about them.
"""

from collections import deque

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.support.ps2 import RAW, Pc
from vmm.devices.i8042 import STATUS_MOUSE, STATUS_OUTPUT_FULL
from vmm.devices.ps2 import QUEUE_BYTES
from vmm.input.qcodes import NUMBERS
from vmm.input.router import BUTTONS
from vmm.input.scancodes import TO_SET1, sequence

BYTES = st.integers(0, 255)
PLAIN_KEYS = ("a", "b", "shift", "right", "f7", "kp_enter", "pause", "print")
DROPPING = {0xF5, 0xF6, 0xFF}
MOTION = st.integers(-1000, 1000)


class AnyDriver(RuleBasedStateMachine):
    """Random port accesses between random input: nothing raises and everything stays bounded."""

    def __init__(self) -> None:
        super().__init__()
        self.pc = Pc(RAW)

    @rule(value=BYTES)
    def write_data(self, value: int) -> None:
        self.pc.controller.write_data(value)

    @rule(value=BYTES)
    def write_command(self, value: int) -> None:
        self.pc.controller.write_command(value)

    @rule(value=st.sampled_from([0xF3, 200, 100, 80, 0xF4, 0xF0, 0xEE, 0xEB, 0xE9, 0xFF]))
    def write_mouse(self, value: int) -> None:
        self.pc.ctl(0xD4, value)

    @rule()
    def read(self) -> None:
        full, source = self.pc.status() & STATUS_OUTPUT_FULL, self.pc.status() & STATUS_MOUSE
        last = self.pc.inb()
        assert 0 <= last <= 255
        if not full:
            assert not source
            assert self.pc.inb() == last

    @rule(qcode=st.sampled_from(sorted(NUMBERS)), down=st.booleans())
    def key(self, qcode: str, down: bool) -> None:
        self.pc.router.key(qcode, down)

    @rule(dx=MOTION, dy=MOTION, name=st.sampled_from(BUTTONS), down=st.booleans())
    def point(self, dx: int, dy: int, name: str, down: bool) -> None:
        self.pc.router.pointer_rel(dx, dy)
        self.pc.router.button(name, down)
        self.pc.router.sync()

    @rule()
    def reset(self) -> None:
        self.pc.controller.reset()

    @invariant()
    def queues_are_bounded(self) -> None:
        for device in (self.pc.keyboard, self.pc.mouse):
            assert 0 <= device.room() <= QUEUE_BYTES
            assert device.pending <= QUEUE_BYTES + 5  # the longest answer has 5 bytes

    @invariant()
    def the_status_agrees_with_the_lines(self) -> None:
        status, mode = self.pc.status(), self.pc.controller.mode
        full, mouse = bool(status & STATUS_OUTPUT_FULL), bool(status & STATUS_MOUSE)
        assert not status & 0xC2  # never busy, never a timeout
        assert not mouse or full
        keyboard_asks = full and not mouse and mode & 0x11 == 0x01
        mouse_asks = full and mouse and mode & 0x02 != 0
        assert self.pc.irqs == (int(keyboard_asks), int(mouse_asks))

    @invariant()
    def a_byte_that_may_come_is_announced(self) -> None:
        mode = self.pc.controller.mode
        waiting = (self.pc.keyboard.has_output and not mode & 0x10) or (
            self.pc.mouse.has_output and not mode & 0x20
        )
        assert not waiting or self.pc.status() & STATUS_OUTPUT_FULL

    def teardown(self) -> None:
        """However wild it was, a driver that starts anew finds a controller that works."""
        self.pc.controller.reset()
        self.pc.ctl(0x60, RAW)
        for qcode in ("shift", "shift_r", "alt", "alt_r", "ctrl", "ctrl_r"):
            self.pc.router.key(qcode, False)
        self.pc.drain()
        self.pc.press("a")
        assert self.pc.read() == "1c f0 1c"
        assert self.pc.aux(0xF2) == "Mfa M00"


class SaneDriver(RuleBasedStateMachine):
    """A driver that reads what there is, and a user who types: every key arrives, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.pc = Pc(RAW)
        self.expected: deque[int] = deque()
        self.scanning = True
        self.translated = False
        self.break_seen = False
        self.held: set[str] = set()
        self.told: set[str] = set()
        self.owed: dict[str, bytes] = {}

    @initialize(translated=st.booleans())
    def start(self, translated: bool) -> None:
        self.translated = translated
        self.pc.ctl(0x60, RAW | (0x40 if translated else 0))

    @rule(qcode=st.sampled_from(PLAIN_KEYS), down=st.booleans())
    def key(self, qcode: str, down: bool) -> None:
        codes = sequence(qcode, down, 2, frozenset(self.held))
        if qcode == "shift":
            (self.held.add if down else self.held.discard)(qcode)
        if self.scanning:
            if not self.owed and len(codes) <= self.room():
                self.expected.extend(codes)
                (self.told.add if down else self.told.discard)(qcode)
            elif not down and qcode in self.told:
                self.told.remove(qcode)
                self.owed[qcode] = codes
        self.pc.router.key(qcode, down)
        self.note_swallowed()

    def room(self) -> int:
        swallowed = self.translated and self.expected and self.break_seen
        return QUEUE_BYTES - len(self.expected) + bool(swallowed)

    def note_swallowed(self) -> None:
        """With translation the controller takes a break prefix as soon as it is next."""
        at_head = bool(self.expected) and self.expected[0] == 0xF0
        self.break_seen = self.translated and at_head
        while self.owed and len(codes := next(iter(self.owed.values()))) <= self.room():
            self.expected.extend(codes)
            del self.owed[next(iter(self.owed))]

    def next_byte(self) -> int:
        value = self.expected.popleft()
        if not self.translated:
            return value
        if value != 0xF0:
            return TO_SET1[value]
        return TO_SET1[self.expected.popleft()] | 0x80

    @rule(count=st.integers(1, 20))
    def read(self, count: int) -> None:
        for _ in range(count):
            full = self.pc.status() & STATUS_OUTPUT_FULL
            assert bool(full) == bool(self.expected)
            if not full:
                return
            assert self.pc.inb() == self.next_byte()
            self.note_swallowed()

    @rule(command=st.sampled_from([0xEE, 0xF2, 0xF4, *DROPPING]))
    def command(self, command: int) -> None:
        """Answers come first; some commands drop what waits."""
        if command in DROPPING:
            self.expected.clear()
            self.told.clear()
            self.owed.clear()
            self.scanning = command != 0xF5
        elif command == 0xF4:
            self.scanning = True
        self.pc.controller.write_data(command)
        identity = (0xFA, 0xAB, 0x41 if self.translated else 0x83)
        answers = {0xEE: (0xEE,), 0xF2: identity, 0xFF: (0xFA, 0xAA)}.get(command, (0xFA,))
        for answer in answers:
            assert self.pc.status() & STATUS_OUTPUT_FULL
            assert self.pc.inb() == answer
        self.note_swallowed()

    @rule()
    def off_and_on(self) -> None:
        """While the interface is off nothing new appears, and nothing is lost."""
        self.pc.ctl(0xAD)
        self.pc.ctl(0xAE)

    def teardown(self) -> None:
        self.read(100)


TestAnyDriver = AnyDriver.TestCase
TestSaneDriver = SaneDriver.TestCase
