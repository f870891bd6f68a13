# SPDX-License-Identifier: GPL-2.0-or-later
"""A PS/2 mouse with IntelliMouse wheel and Explorer buttons.

Sources: IBM PS/2 Technical Reference, "Mouse"; Microsoft's description of the IntelliMouse and
IntelliMouse Explorer extensions (knocks with sample rates 200, 100, 80 and 200, 200, 80). As QEMU's
it reports at once whatever the sample rate, and a packet moves by at most 127.

Motion that finds no room waits, added up; only beyond MAX_MOTION is it lost, and the next packet
then has its overflow bit.
"""

from vmm.devices.ps2 import ACK, RESEND, SELF_TEST_PASSED, Ps2Device

STANDARD, WHEEL, EXPLORER = 0, 3, 4
MAX_MOTION = 8192
PACKET_MOTION = 127
DEFAULT_RESOLUTION, DEFAULT_RATE = 2, 100  # 4 counts a millimetre, reports a second
MAX_RATE = 200
WHEEL_KNOCK, EXPLORER_KNOCK = (200, 100, 80), (200, 200, 80)
BUTTON_BITS = {"left": 1, "right": 2, "middle": 4, "side": 8, "extra": 16}
WHEELS = {"wheel-up": (-1, 0), "wheel-down": (1, 0), "wheel-left": (0, 1), "wheel-right": (0, -1)}
_EXIT_WRAP, _RESET = 0xEC, 0xFF


class Ps2Mouse(Ps2Device):
    """The mouse.

    Attributes:
        kind: STANDARD, WHEEL or EXPLORER, the identity it answers with.
        reporting: whether the guest enabled reports.
        remote: whether reports are sent on request only.
        wrap: whether bytes are echoed.
    """

    TYPE = "ps2-mouse"

    def __init__(self, object_id: str) -> None:
        super().__init__(object_id)
        self._buttons = 0
        self._reported_buttons = 0
        self._all_defaults()

    def _all_defaults(self) -> None:
        self.kind = STANDARD
        self.wrap = False
        self._rates = (0, 0, 0)
        self._defaults()

    def _defaults(self) -> None:
        self.reporting = False
        self.remote = False
        self.scaling = False
        self.resolution = DEFAULT_RESOLUTION
        self.rate = DEFAULT_RATE
        self._forget_motion()

    def _forget_motion(self) -> None:
        self._events.clear()
        self._motion = [0, 0]
        self._overflow = [False, False]
        self._wheel = [0, 0]
        self._due = False

    def reset(self) -> None:
        """Power on. Buttons that are held stay known."""
        self.power_on()
        self._all_defaults()

    # The user's side.

    @property
    def _listening(self) -> bool:
        return self.reporting or self.remote

    def motion(self, dx: int, dy: int) -> None:
        """Move right by ``dx`` and down by ``dy`` counts, reported at the next ``sync``."""
        if not self._listening:
            return
        for axis, delta in enumerate((dx, -dy)):
            wanted = self._motion[axis] + delta
            self._motion[axis] = max(-MAX_MOTION, min(MAX_MOTION, wanted))
            self._overflow[axis] |= self._motion[axis] != wanted

    def button(self, name: str, down: bool) -> None:
        """A button, or one click of a wheel (QAPI's InputButton); unknown ones are ignored."""
        if name in BUTTON_BITS:
            bit = BUTTON_BITS[name]
            self._buttons = self._buttons | bit if down else self._buttons & ~bit
        elif name in WHEELS and down and self._listening:
            for axis, step in enumerate(WHEELS[name]):
                self._wheel[axis] = max(-MAX_MOTION, min(MAX_MOTION, self._wheel[axis] + step))

    def sync(self) -> None:
        """Report what changed."""
        if not self.reporting or self.remote or self.wrap:
            return
        self._due = self._changed()
        self.refill()
        if self.has_output:
            self._output_ready()

    def _changed(self) -> bool:
        if not self.kind:
            self._wheel = [0, 0]
        elif self.kind == WHEEL:
            self._wheel[1] = 0
        buttons = self._buttons ^ self._reported_buttons
        if self.kind != EXPLORER:
            buttons &= 7
        return bool(buttons or any(self._motion) or any(self._wheel) or any(self._overflow))

    def refill(self) -> None:
        """Queue packets until everything is told or there is no room."""
        while self._due and self.room() >= self._packet_bytes():
            self.send(self._packet())
            self._due = self._changed()

    # Packets.

    def _packet_bytes(self) -> int:
        return 4 if self.kind else 3

    def _packet(self) -> bytes:
        """The next packet; what it tells is no longer waiting."""
        scale = self.scaling and not self.remote
        moved = [self._take_motion(axis, scale) for axis in (0, 1)]
        first = 0x08 | (self._buttons & 7)
        for axis in (0, 1):
            first |= (moved[axis] < 0) << (4 + axis) | self._overflow[axis] << (6 + axis)
        self._overflow = [False, False]
        self._reported_buttons = self._buttons
        packet = bytes([first, moved[0] & 0xFF, moved[1] & 0xFF])
        if self.kind == WHEEL:
            packet += bytes([self._take_wheel(0, -127, 127) & 0xFF])
        elif self.kind == EXPLORER:
            packet += bytes([self._explorer_byte()])
        return packet

    def _take_motion(self, axis: int, scale: bool) -> int:
        limit = PACKET_MOTION // 2 if scale else PACKET_MOTION
        moved = max(-limit, min(limit, self._motion[axis]))
        self._motion[axis] -= moved
        return _scaled(moved) if scale else moved

    def _take_wheel(self, axis: int, low: int, high: int) -> int:
        turned = max(low, min(high, self._wheel[axis]))
        self._wheel[axis] -= turned
        return turned

    def _explorer_byte(self) -> int:
        """Vertical wheel and two buttons, or else the horizontal wheel (bit 6)."""
        if self._wheel[1] and not self._wheel[0]:
            return 0x40 | (self._take_wheel(1, -32, 31) & 0x3F)
        extra_buttons = (self._buttons & 0x18) << 1
        return (self._take_wheel(0, -8, 7) & 0x0F) | extra_buttons

    # The host's side.

    def write(self, value: int) -> None:
        """A byte from the host; echoed in wrap mode."""
        if self.wrap and value not in (_EXIT_WRAP, _RESET):
            self._answers.clear()
            self.answer(value)
            return
        super().write(value)

    def is_argument(self, value: int) -> bool:
        """Whether a byte is at most the highest sample rate; commands are above that."""
        return value <= MAX_RATE

    def command(self, value: int) -> None:
        """Carry out a command; an unknown one is answered with "resend"."""
        action = {
            0xE6: lambda: self._switch("scaling", False),
            0xE7: lambda: self._switch("scaling", True),
            0xE8: lambda: self.await_argument(self._choose_resolution),
            0xE9: lambda: self.answer(ACK, self._status(), self.resolution, self.rate),
            0xEA: lambda: self._switch("remote", False),
            0xEB: lambda: self.answer(ACK, *self._packet()),
            _EXIT_WRAP: lambda: self._switch("wrap", False),
            0xEE: lambda: self._switch("wrap", True),
            0xF0: lambda: self._switch("remote", True),
            0xF2: lambda: self.answer(ACK, self.kind),
            0xF3: lambda: self.await_argument(self._choose_rate),
            0xF4: lambda: self._switch("reporting", True),
            0xF5: lambda: self._switch("reporting", False),
            0xF6: self._defaults_command,
            _RESET: self._reset_command,
        }.get(value)
        if action is None:
            self.answer(RESEND)
        else:
            action()

    def _switch(self, attribute: str, value: bool) -> None:
        """Change a mode; what waits was meant for the old one."""
        setattr(self, attribute, value)
        if attribute != "scaling":
            self._forget_motion()
        self.answer(ACK)

    def _choose_resolution(self, value: int) -> None:
        if value > 3:
            self.answer(RESEND)
            return
        self.resolution = value
        self.answer(ACK)

    def _choose_rate(self, value: int) -> None:
        self.rate = value
        self._rates = (*self._rates[1:], value)
        if self._rates == WHEEL_KNOCK:
            self._become(WHEEL)
        elif self._rates == EXPLORER_KNOCK:
            self._become(EXPLORER)
        self.answer(ACK)

    def _become(self, kind: int) -> None:
        self.kind = kind
        self._forget_motion()  # packets of the old length

    def _status(self) -> int:
        left, right, middle = (self._buttons >> bit & 1 for bit in (0, 1, 2))
        modes = self.remote << 6 | self.reporting << 5 | self.scaling << 4
        return modes | left << 2 | middle << 1 | right

    def _defaults_command(self) -> None:
        self._defaults()
        self.answer(ACK)

    def _reset_command(self) -> None:
        self._all_defaults()
        self.answer(ACK, SELF_TEST_PASSED, self.kind)


def _scaled(counts: int) -> int:
    """Scaling 2:1 of the Technical Reference: small motions are slowed, others doubled."""
    size = abs(counts)
    scaled = {0: 0, 1: 1, 2: 1, 3: 3, 4: 6, 5: 9}.get(size, 2 * size)
    return scaled if counts >= 0 else -scaled
