# SPDX-License-Identifier: GPL-2.0-or-later
"""A client's fences: answers wait for what they are to come after (rfbproto, ClientFence)."""

from vmm.display.rfb.errors import RfbError
from vmm.display.rfb.events import ClientFence
from vmm.display.rfb.numbers import Fence
from vmm.display.rfb.server_messages import fence

SUPPORTED = Fence.BLOCK_BEFORE | Fence.BLOCK_AFTER | Fence.SYNC_NEXT
MAX_WAITING = 64


class Fences:
    """Unanswered fences of one client. While there are any, no update may begin.

    An answer with BLOCK_BEFORE or SYNC_NEXT waits for the update that is being encoded; one with
    SYNC_NEXT first waits for the client's next message, so that a change of the pixel format and
    the answer to its fence are one step for the client.
    """

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._sync: bytes | None = None

    @property
    def block_updates(self) -> bool:
        """Whether an update must not begin now."""
        return self._sync is not None or bool(self._waiting)

    def question(self, event: ClientFence, busy: bool) -> bytes:
        """A fence arrived; returns its answer if it can be sent now. busy: an update is made.

        Raises:
            RfbError: too many wait.
        """
        answer = fence(event.flags & SUPPORTED, event.payload)
        if event.flags & Fence.SYNC_NEXT:
            # One message can be the next of one fence only: the one before gives way.
            given_way, self._sync = self._sync, answer
            return self._later(given_way, busy) if given_way is not None else b""
        if event.flags & Fence.BLOCK_BEFORE:
            return self._later(answer, busy)
        return answer

    def message_done(self, busy: bool) -> bytes:
        """A message that is no fence has taken effect; returns what can be sent now."""
        answer, self._sync = self._sync, None
        return self._later(answer, busy) if answer is not None else b""

    def update_done(self) -> bytes:
        """The update's bytes are sent; returns the answers that waited for it."""
        answers = b"".join(self._waiting)
        self._waiting.clear()
        return answers

    def _later(self, answer: bytes, busy: bool) -> bytes:
        if not busy:
            return answer
        if len(self._waiting) >= MAX_WAITING:
            raise RfbError(f"more than {MAX_WAITING} fences before one update")
        self._waiting.append(answer)
        return b""
