# SPDX-License-Identifier: GPL-2.0-or-later
"""A PS/2 keyboard. Source: IBM PS/2 Technical Reference, "Keyboards (101- and 102-key)".

As QEMU's it repeats no key by itself: the client that holds the key sends it again. In set 3 every
key sends make and break codes.
"""

from collections.abc import Callable

from vmm.devices.ps2 import ACK, RESEND, SELF_TEST_PASSED, Ps2Device
from vmm.input.router import Leds
from vmm.input.scancodes import ALTS, CONTROLS, SHIFTS, sequence

IDENTITY = (0xAB, 0x83)
ECHO = 0xEE
DEFAULT_SET = 2
DEFAULT_TYPEMATIC = 0x2B  # 10.9 characters a second after 500 ms
MODIFIERS = ALTS | CONTROLS | SHIFTS


class Ps2Keyboard(Ps2Device):
    """The keyboard.

    Args:
        object_id: name in the object tree.
        on_leds: called with the new LEDs when the guest changes them.

    Attributes:
        scan_set: 1, 2 or 3.
        scanning: whether keystrokes are sent.
        typematic: rate and delay as the guest set them, bits of command 0xF3; stored only.
    """

    TYPE = "ps2-kbd"

    def __init__(self, object_id: str, on_leds: Callable[[Leds], None]) -> None:
        super().__init__(object_id)
        self._on_leds = on_leds
        self.leds = Leds()
        self.scan_set = DEFAULT_SET
        self.scanning = True
        self.typematic = DEFAULT_TYPEMATIC
        self._modifiers: set[str] = set()
        self._told: set[str] = set()
        """Keys that the guest was told are down, and not yet that they are up."""
        self._owed: dict[str, bytes] = {}
        """Codes of releases of such keys that found no room."""

    def key(self, qcode: str, down: bool) -> None:
        """A key goes down (again) or up.

        Raises:
            ValueError: no such QKeyCode.
        """
        codes = sequence(qcode, down, self.scan_set, frozenset(self._modifiers))
        if qcode in MODIFIERS:
            (self._modifiers.add if down else self._modifiers.discard)(qcode)
        if codes and self.scanning:
            self._tell(qcode, down, codes)

    def _tell(self, qcode: str, down: bool, codes: bytes) -> None:
        """Queue the codes. Only presses are lost: a key must not stay down for the guest."""
        told = qcode in self._told
        if not down:
            self._told.discard(qcode)
        if not down and told and (self._owed or len(codes) > self.room()):
            self._owed[qcode] = codes
            return
        if self._owed:  # what follows a release must not overtake it
            self.dropped += len(codes)
        elif self.send(codes):
            if down:
                self._told.add(qcode)
            self._output_ready()

    def refill(self) -> None:
        """Queue releases that found no room before."""
        for qcode, codes in tuple(self._owed.items()):
            if len(codes) > self.room():
                return
            self.send(codes)
            del self._owed[qcode]

    def reset(self) -> None:
        """Power on. The keys that are held stay known: the user still holds them."""
        self.power_on()
        self._defaults()

    def _defaults(self) -> None:
        self.clear()
        self._told.clear()
        self._owed.clear()
        self.scan_set = DEFAULT_SET
        self.scanning = True
        self.typematic = DEFAULT_TYPEMATIC
        self._set_leds(0)

    def _set_leds(self, bits: int) -> None:
        leds = Leds(scroll=bool(bits & 1), num=bool(bits & 2), caps=bool(bits & 4))
        if leds != self.leds:
            self.leds = leds
            self._on_leds(leds)

    def command(self, value: int) -> None:
        """Carry out a command; an unknown one is answered with "resend"."""
        action = {
            0xED: self._leds_command,
            ECHO: lambda: self.answer(ECHO),
            0xF0: lambda: self.await_argument(self._choose_set),
            0xF2: lambda: self.answer(ACK, *IDENTITY),
            0xF3: lambda: self.await_argument(self._choose_typematic),
            0xF4: self._enable,
            0xF5: lambda: self._restore(False),
            0xF6: lambda: self._restore(True),
            0xF7: self._acknowledge,  # kinds of all keys, set 3: they stay make/break
            0xF8: self._acknowledge,
            0xF9: self._acknowledge,
            0xFA: self._acknowledge,
            0xFB: self._key_kinds,
            0xFC: self._key_kinds,
            0xFD: self._key_kinds,
            0xFF: self._reset_command,
        }.get(value)
        if action is None:
            self.answer(RESEND)
        else:
            action()

    def _acknowledge(self) -> None:
        self.answer(ACK)

    def _leds_command(self) -> None:
        self.await_argument(self._choose_leds)

    def _choose_leds(self, value: int) -> None:
        self._set_leds(value)
        self.answer(ACK)

    def _choose_set(self, value: int) -> None:
        if value == 0:
            self.answer(ACK, self.scan_set)
        elif value <= 3:
            self.scan_set = value
            self.answer(ACK)
        else:
            self.answer(RESEND)

    def _choose_typematic(self, value: int) -> None:
        self.typematic = value
        self.answer(ACK)

    def _key_kinds(self) -> None:
        """Kinds of single keys, set 3: a list of keys that ends with the next command."""
        self.await_argument(lambda _: self._key_kinds())

    def _enable(self) -> None:
        self.scanning = True
        self.answer(ACK)

    def _restore(self, scanning: bool) -> None:
        self._defaults()
        self.scanning = scanning
        self.answer(ACK)

    def _reset_command(self) -> None:
        self._defaults()
        self.answer(ACK, SELF_TEST_PASSED)
