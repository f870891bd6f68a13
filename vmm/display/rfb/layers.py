# SPDX-License-Identifier: GPL-2.0-or-later
"""What lies between the socket and the session: TLS, WebSocket, or nothing.

A layer turns bytes from the outside into bytes for the inside and back; a stack of them does so as
one. A WebSocket over TLS has TLS first, VeNCrypt adds TLS below the session while it runs.
"""

from typing import Protocol


class Layer(Protocol):
    """One transformation of the byte stream. Methods raise RfbError when the peer breaks it."""

    @property
    def ended(self) -> str | None:
        """Why nothing more will come from the outside; what came before was still handed on."""

    def receive(self, data: bytes) -> bytes:
        """Bytes from the outside; returns what they carry for the inside."""

    def send(self, data: bytes) -> bytes:
        """Bytes from the inside; returns what the outside gets for them."""

    def take_output(self) -> bytes:
        """What the layer itself has to say to the outside since the last call."""

    def close(self) -> bytes:
        """What the outside gets before the connection ends."""


class LayerStack:
    """Layers from the outside to the inside. ``output`` collects what goes to the socket."""

    def __init__(self) -> None:
        self._layers: list[Layer] = []
        self._output: list[bytes] = []

    @property
    def ended(self) -> str | None:
        """Why the peer will say no more, or None. Ask after what receive returned is handled."""
        return next((each.ended for each in self._layers if each.ended is not None), None)

    def push(self, layer: Layer) -> None:
        """Add an innermost layer."""
        self._layers.append(layer)

    def receive(self, data: bytes) -> bytes:
        """Bytes from the socket; returns what is for the session.

        Raises:
            RfbError: a layer's protocol was broken.
        """
        return self.receive_from(0, data)

    def receive_from(self, index: int, data: bytes) -> bytes:
        """As receive, for bytes that the layers before index have already seen."""
        for position in range(index, len(self._layers)):
            if not data:  # to some protocols no bytes mean the end
                break
            layer = self._layers[position]
            try:
                data = layer.receive(data)
            finally:  # also an error may have words for the peer
                self._emit(layer.take_output(), position)
        return data

    def push_and_feed(self, layer: Layer, rest: bytes) -> bytes:
        """Add an innermost layer and give it what was received and not used before it.

        Raises:
            RfbError: those bytes break its protocol.
        """
        self.push(layer)
        return self.receive_from(len(self._layers) - 1, rest)

    def send(self, data: bytes) -> None:
        """Bytes of the session for the socket."""
        self._emit(data, len(self._layers))

    def close(self) -> None:
        """Let each layer say its farewell, the innermost first."""
        for position in reversed(range(len(self._layers))):
            self._emit(self._layers[position].close(), position)

    def take_output(self) -> list[bytes]:
        """Remove and return what the socket gets, in order."""
        output, self._output = self._output, []
        return output

    def _emit(self, data: bytes, below: int) -> None:
        for layer in reversed(self._layers[:below]):
            if not data:
                return
            data = layer.send(data)
        if data:
            self._output.append(data)
