# SPDX-License-Identifier: GPL-2.0-or-later
"""Raw (RFC 6143 section 7.7.1): the pixels, row by row."""

import numpy as np

from vmm.display.encodings.kernel import Scratch, payload
from vmm.display.encodings.rect import Payload
from vmm.display.pixels import PixelFormat, Pixels, convert


def encode(pixels: Pixels, fmt: PixelFormat, scratch: Scratch) -> Payload:
    """Payload of a raw rectangle; where nothing is to be done, a view of ``pixels`` itself."""
    wire = convert(pixels, fmt)
    if wire.flags.c_contiguous:
        return wire.reshape(-1).view(np.uint8).data
    out = scratch.take(wire.nbytes)[: wire.nbytes]
    np.copyto(out.view(wire.dtype).reshape(wire.shape), wire)
    return payload(out)
