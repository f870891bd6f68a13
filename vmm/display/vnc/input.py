# SPDX-License-Identifier: GPL-2.0-or-later
"""A client's keys and pointer, and what must be released when it leaves."""

from vmm.display.rfb.events import KeyEvent, PointerEvent, QemuKeyEvent
from vmm.display.vnc.ports import InputRouter
from vmm.input.keysyms import qcode_of_keysym

BUTTONS = ("left", "middle", "right", "wheel-up", "wheel-down", "wheel-left", "wheel-right")
"""QAPI's InputButton by bit of RFB's button mask."""
MOTION_CENTRE = 0x7FFF
"""Where a relative pointer event has no movement (pseudo-encoding -257)."""
MAX_HELD_KEYS = 64
_MAX_NUMBER = 0xFF
_SHIFTS = ("shift", "shift_r")
_KEYPAD_NUMBERS = frozenset((*range(0xFFB0, 0xFFBA), 0xFFAC, 0xFFAE))  # KP_0 to KP_9, separators
_KEYPAD = _KEYPAD_NUMBERS | frozenset(range(0xFF95, 0xFFA0))  # KP_Home to KP_Delete


class ClientInput:
    """Input of one client. Main thread, BQL held.

    Args:
        router: where it goes.
        lock_key_sync: press caps lock or num lock for the guest when its state contradicts the
            letters or keypad keys that come (QEMU's lock-key-sync).
    """

    def __init__(self, router: InputRouter, lock_key_sync: bool) -> None:
        self._router = router
        self._lock_key_sync = lock_key_sync
        self._held: set[str | int] = set()
        self._buttons = 0
        self._last: tuple[int, int] | None = None

    def key(self, event: KeyEvent) -> None:
        """A key by keysym; one that no keyboard has is ignored."""
        qcode = qcode_of_keysym(event.keysym)
        if qcode is None:
            return
        if event.down and self._lock_key_sync:
            self._sync_locks(event.keysym)
        self._press(qcode, event.down)

    def qemu_key(self, event: QemuKeyEvent) -> None:
        """A key by number, as the client's keyboard has it; by keysym where there is no number."""
        if 0 < event.number <= _MAX_NUMBER:
            self._press(event.number, event.down)
        elif event.number == 0:
            self.key(KeyEvent(event.down, event.keysym))

    def pointer(self, event: PointerEvent, width: int, height: int, relative: bool) -> None:
        """Position and buttons. relative: the position is a movement around MOTION_CENTRE."""
        if relative:
            dx, dy = event.x - MOTION_CENTRE, event.y - MOTION_CENTRE
            if dx or dy:
                self._router.pointer_rel(dx, dy)
        elif (event.x, event.y) != self._last:
            self._last = (event.x, event.y)
            x, y = min(event.x, width - 1), min(event.y, height - 1)
            self._router.pointer_abs(x, y, width, height)
        self._change_buttons(event.buttons)
        self._router.sync()

    def release_all(self) -> None:
        """Release what the client holds: it has gone."""
        for key in tuple(self._held):
            self._press(key, False)
        self._change_buttons(0)
        self._router.sync()

    def _press(self, key: str | int, down: bool) -> None:
        if not down and key not in self._held:
            return  # also a release that follows the one of release_all
        if down:
            if key not in self._held and len(self._held) >= MAX_HELD_KEYS:
                return  # no hand has so many fingers
            self._held.add(key)
        else:
            self._held.remove(key)
        if isinstance(key, int):
            self._router.key_number(key, down)
        else:
            self._router.key(key, down)
        self._router.sync()

    def _sync_locks(self, keysym: int) -> None:
        """A letter's case, with shift, tells whether caps lock is on at the client.

        What a key of the keypad means tells the same of num lock, unless shift turns it round.
        """
        letter = chr(keysym) if keysym < 0x80 else ""
        shifted = not self._held.isdisjoint(_SHIFTS)
        leds = self._router.leds
        if letter.isalpha() and (letter.isupper() != shifted) != leds.caps:
            self._tap("caps_lock")
        elif keysym in _KEYPAD and not shifted and (keysym in _KEYPAD_NUMBERS) != leds.num:
            self._tap("num_lock")

    def _tap(self, qcode: str) -> None:
        for down in (True, False):
            self._router.key(qcode, down)
            self._router.sync()

    def _change_buttons(self, buttons: int) -> None:
        changed = buttons ^ self._buttons
        self._buttons = buttons
        for bit, name in enumerate(BUTTONS):
            if changed >> bit & 1:
                self._router.button(name, bool(buttons >> bit & 1))
