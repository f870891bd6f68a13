# SPDX-License-Identifier: GPL-2.0-or-later
"""The way of a keystroke or a motion from whoever has it (VNC, a monitor) to the devices.

As QEMU's ui/input.c: keys go to the keyboard at once, motion and buttons are added up until
``sync``. Where ``send_key`` holds keys for a while, whatever comes for the keyboard meanwhile waits
behind it, so that the order stays. All of it runs in the main thread under the BQL; nothing locks.

The pointer of a PS/2 mouse is relative. Absolute positions become the difference to the last one;
the first one, and the first after ``forget_position``, only says where the pointer is.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from vmm.input.qcodes import UNMAPPED, number_of_qcode, qcode_of_number

BUTTONS = (
    "left",
    "middle",
    "right",
    "wheel-up",
    "wheel-down",
    "side",
    "extra",
    "wheel-left",
    "wheel-right",
    "touch",
)
"""QAPI's InputButton, in its order. A PS/2 mouse has no ``touch`` and ignores it."""
QUEUE_LIMIT = 1024
DEFAULT_HOLD_MS = 100
MAX_HOLD_MS = 60_000
ABSOLUTE_RANGE = 0x8000
"""QAPI's absolute axes go from 0 to 0x7fff."""


@dataclass(frozen=True)
class Leds:
    """The keyboard's lights, as the guest set them."""

    scroll: bool = False
    num: bool = False
    caps: bool = False


class KeyboardInput(Protocol):
    """A device that takes keys."""

    def key(self, qcode: str, down: bool) -> None:
        """A key goes down or up."""


class PointerInput(Protocol):
    """A device that takes relative motion and buttons."""

    def motion(self, dx: int, dy: int) -> None:
        """Move right and down by so many counts."""

    def button(self, name: str, down: bool) -> None:
        """A button goes down or up."""

    def sync(self) -> None:
        """Report what came since the last time."""


@dataclass(frozen=True)
class _Key:
    qcode: str
    down: bool


class InputRouter:
    """Passes input on to one keyboard and one pointer, if there are any.

    Args:
        call_later: asyncio's ``loop.call_later``; times how long ``send_key`` holds keys.

    Attributes:
        enabled: whether input reaches the devices. A stopped machine takes none, as in QEMU, but
            for the release of what was pressed before: no key stays down in the guest.
        leds: the keyboard's lights.
        screen: width and height of what the guest shows, in pixels, or None. Absolute positions in
            other units are scaled to it, so that the guest's pointer follows the client's.
    """

    def __init__(self, call_later: Callable[[float, Callable[[], None]], Any]) -> None:
        self.enabled = True
        self.leds = Leds()
        self.screen: tuple[int, int] | None = None
        self._call_later = call_later
        self._keyboard: KeyboardInput | None = None
        self._pointer: PointerInput | None = None
        self._led_callbacks: list[Callable[[Leds], None]] = []
        self._queue: deque[_Key | float] = deque()  # a number: seconds to wait
        self._timer: Any = None
        self._pressed: dict[str, None] = {}
        self._buttons: dict[str, None] = {}
        self._axes = (_Axis(), _Axis())

    def attach(self, keyboard: KeyboardInput | None, pointer: PointerInput | None) -> None:
        """Where input goes from now on."""
        self._keyboard, self._pointer = keyboard, pointer

    # Keys.

    def key(self, qcode: str, down: bool) -> None:
        """A key goes down (again, when it repeats) or up.

        Raises:
            ValueError: no such QKeyCode; nothing is sent.
        """
        number_of_qcode(qcode)
        if qcode == UNMAPPED or not (self.enabled or (not down and qcode in self._pressed)):
            return
        if not self._queue and self._timer is None:
            self._deliver(_Key(qcode, down))
        elif len(self._queue) < QUEUE_LIMIT:
            self._queue.append(_Key(qcode, down))

    def key_number(self, number: int, down: bool) -> None:
        """A key by QEMU's number; numbers of no key are ignored."""
        qcode = qcode_of_number(number)
        if qcode is not None:
            self.key(qcode, down)

    def send_key(self, keys: Sequence[str | int], hold_ms: int = DEFAULT_HOLD_MS) -> None:
        """Press keys in order and release them in reverse, waiting ``hold_ms`` after each.

        Returns at once. A hold time that is not positive counts as none, one above MAX_HOLD_MS as
        that; what finds more than QUEUE_LIMIT steps waiting is dropped as a whole.

        Raises:
            ValueError: a name that is no QKeyCode; nothing is sent.
        """
        for key in keys:
            if isinstance(key, str):
                number_of_qcode(key)
        names = [key if isinstance(key, str) else qcode_of_number(key) for key in keys]
        known = [name for name in names if name is not None and name != UNMAPPED]
        if not self.enabled or len(self._queue) + 4 * len(known) > QUEUE_LIMIT:
            return
        hold = min(max(hold_ms, 0), MAX_HOLD_MS) / 1000
        for name in known:
            self._queue += [_Key(name, True), hold]
        for name in reversed(known):
            self._queue += [_Key(name, False), hold]
        if self._timer is None:
            self._advance()

    def _advance(self) -> None:
        """Deliver what waits, up to the next pause."""
        self._timer = None
        while self._queue:
            step = self._queue.popleft()
            if isinstance(step, _Key):
                self._deliver(step)
            elif step > 0:
                self._timer = self._call_later(step, self._advance)
                return

    def _deliver(self, key: _Key) -> None:
        if key.down:
            self._pressed[key.qcode] = None
        else:
            self._pressed.pop(key.qcode, None)
        if self._keyboard is not None:
            self._keyboard.key(key.qcode, key.down)

    # Pointer.

    def pointer_rel(self, dx: int, dy: int) -> None:
        """Move right by ``dx`` and down by ``dy`` pixels."""
        if self.enabled and self._pointer is not None:
            self._pointer.motion(dx, dy)

    def pointer_abs(self, x: int, y: int, width: int, height: int) -> None:
        """Move to a position on a plane of ``width`` times ``height``; outside is the nearest edge.

        Raises:
            ValueError: a plane without area.
        """
        if width <= 0 or height <= 0:
            raise ValueError(f"a pointer plane of {width} times {height}")
        self.pointer_axis(0, x, width)
        self.pointer_axis(1, y, height)

    def pointer_axis(self, axis: int, position: int, extent: int) -> None:
        """One axis of :meth:`pointer_abs`: 0 is x, 1 is y."""
        if not self.enabled:
            return
        pixels = self.screen[axis] if self.screen is not None else extent
        motion = self._axes[axis].move(position, extent, pixels)
        if motion:
            self.pointer_rel(*((motion, 0) if axis == 0 else (0, motion)))

    def forget_position(self) -> None:
        """The next absolute position is a first one: another client, another screen."""
        for axis in self._axes:
            axis.forget()

    def button(self, name: str, down: bool) -> None:
        """A button or a wheel click (QAPI's InputButton).

        Raises:
            ValueError: no such button; QEMU's wording.
        """
        if name not in BUTTONS:
            raise ValueError(f"Parameter 'button' does not accept value '{name}'")
        if not (self.enabled or (not down and name in self._buttons)):
            return
        if down:
            self._buttons[name] = None
        else:
            self._buttons.pop(name, None)
        if self._pointer is not None:
            self._pointer.button(name, down)

    def sync(self) -> None:
        """Report motion and buttons since the last time."""
        if self._pointer is not None:
            self._pointer.sync()

    # The whole.

    def release_all(self) -> None:
        """Let go of every key and button: the client that held them is gone."""
        for qcode in reversed(list(self._pressed)):
            self.key(qcode, False)
        for name in list(self._buttons):
            self.button(name, False)
        self.sync()

    def on_leds(self, callback: Callable[[Leds], None]) -> Callable[[], None]:
        """Call back when the guest changes the LEDs; returns what ends that (idempotent).

        Called under the BQL in whichever thread changed them, usually a vCPU's: another thread's
        event loop is reached with ``call_soon_threadsafe``.
        """
        self._led_callbacks.append(callback)

        def leave() -> None:
            if callback in self._led_callbacks:
                self._led_callbacks.remove(callback)

        return leave

    def set_leds(self, leds: Leds) -> None:
        """The keyboard tells what the guest set."""
        self.leds = leds
        for callback in tuple(self._led_callbacks):
            callback(leds)

    def close(self) -> None:
        """Forget what waits."""
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Axis:
    """Turns positions on one axis into motion; what is less than a pixel is kept for the next."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._last: tuple[int, int, int] | None = None  # position, extent, pixels
        self._rest = 0

    def move(self, position: int, extent: int, pixels: int) -> int:
        position = min(max(position, 0), extent - 1)
        if self._last is None or self._last[1:] != (extent, pixels):
            self._last, self._rest = (position, extent, pixels), 0
            return 0
        wanted = (position - self._last[0]) * pixels + self._rest
        motion, self._rest = divmod(wanted, extent)
        self._last = (position, extent, pixels)
        return motion
