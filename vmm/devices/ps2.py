# SPDX-License-Identifier: GPL-2.0-or-later
"""What the PS/2 keyboard and mouse have in common: a small output queue and the command protocol.

Answers to commands and what the user did wait in two queues, answers first, as in QEMU: a host that
sends a command reads its answer next, however many keystrokes wait. A new command drops the unread
answer of the one before. Everything runs under the BQL.
"""

from collections import deque
from collections.abc import Callable

from vmm.qom import Device

QUEUE_BYTES = 16
ACK, RESEND, SELF_TEST_PASSED, ERROR = 0xFA, 0xFE, 0xAA, 0xFC
COMMAND_BIT = 0x80
"""Bytes with this bit are commands, also where the argument of the last one is awaited."""


class Ps2Device(Device):
    """A device on a PS/2 port. Subclasses implement ``command``.

    Attributes:
        dropped: bytes of user input that found no room since the last reset.
    """

    def __init__(self, object_id: str) -> None:
        super().__init__(object_id)
        self.dropped = 0
        self._answers: deque[int] = deque()
        self._events: deque[int] = deque()
        self._last = 0
        self._argument: Callable[[int], None] | None = None
        self._output_ready: Callable[[], None] = _nobody

    def connect(self, output_ready: Callable[[], None]) -> None:
        """Plug in: ``output_ready`` is called when user input may have filled an empty queue."""
        self._output_ready = output_ready

    # The controller's side.

    @property
    def has_output(self) -> bool:
        """Whether :meth:`take` has a byte."""
        return bool(self._answers or self._events)

    @property
    def pending(self) -> int:
        """How many bytes :meth:`take` has."""
        return len(self._answers) + len(self._events)

    @property
    def has_events(self) -> bool:
        """Whether bytes of user input wait."""
        return bool(self._events)

    def peek(self) -> tuple[int, bool]:
        """The next byte, and whether it is user input rather than an answer.

        Raises:
            IndexError: there is none.
        """
        if self._answers:
            return self._answers[0], False
        return self._events[0], True

    def take(self) -> int:
        """Remove and return the next byte.

        Raises:
            IndexError: there is none.
        """
        self._last = (self._answers or self._events).popleft()
        self.refill()
        return self._last

    def write(self, value: int) -> None:
        """A byte from the host: a command, or the argument of the last one."""
        self._answers.clear()
        argument, self._argument = self._argument, None
        if argument is not None and self.is_argument(value):
            argument(value)
        elif value == RESEND:
            self.answer(self._last)
        else:
            self.command(value)
        self.refill()

    # The device's side.

    def is_argument(self, value: int) -> bool:
        """Whether a byte that follows a command with an argument is that argument."""
        return value < COMMAND_BIT

    def command(self, value: int) -> None:
        """Carry out a command and answer it."""
        raise NotImplementedError

    def refill(self) -> None:
        """Called when the queues may have room again."""

    def answer(self, *values: int) -> None:
        """Answer the command at hand."""
        self._answers.extend(values)

    def await_argument(self, then: Callable[[int], None]) -> None:
        """Acknowledge, and pass the next byte to ``then`` unless it is a command."""
        self._argument = then
        self.answer(ACK)

    def room(self) -> int:
        """Bytes of user input that still fit."""
        return QUEUE_BYTES - len(self._events)

    def send(self, data: bytes) -> bool:
        """Queue user input, all of it or nothing; True if it fitted.

        QEMU drops single bytes, which leaves half a key in the queue.
        """
        if len(data) > self.room():
            self.dropped += len(data)
            return False
        self._events.extend(data)
        return True

    def clear(self) -> None:
        """Drop everything that waits."""
        self._answers.clear()
        self._events.clear()
        self._argument = None

    def power_on(self) -> None:
        """The state after power-on; nothing waits, and nothing of the past is known."""
        self.clear()
        self.dropped = 0
        self._last = 0


def _nobody() -> None:
    """Nobody is connected yet."""
