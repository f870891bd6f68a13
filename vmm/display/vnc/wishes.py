# SPDX-License-Identifier: GPL-2.0-or-later
"""What a client said it can do and would like: its SetEncodings and SetPixelFormat, understood."""

from dataclasses import dataclass, replace

from vmm.display.encodings import COPYRECT, DEFAULT_COMPRESS, RAW, SUPPORTED
from vmm.display.pixels import NATIVE, PixelFormat
from vmm.display.rfb.numbers import COMPRESS_LEVELS, QUALITY_LEVELS, Pseudo
from vmm.display.vnc.jobs import EncodeSettings


@dataclass(frozen=True)
class Wishes:
    """A client's capabilities and preferences; the start is what RFC 6143 says it is."""

    encoding: int = RAW
    format: PixelFormat = NATIVE
    quality: int | None = None
    compress: int = DEFAULT_COMPRESS
    pseudo: frozenset[Pseudo] = frozenset()
    copies: bool = False
    """Whether the client knows CopyRect."""

    def with_encodings(self, encodings: tuple[int, ...]) -> "Wishes":
        """After SetEncodings: the first encoding that is known here wins, as do levels."""
        real = (e for e in encodings if e in SUPPORTED and e != COPYRECT)
        quality = (QUALITY_LEVELS.index(e) for e in encodings if e in QUALITY_LEVELS)
        compress = (COMPRESS_LEVELS.index(e) for e in encodings if e in COMPRESS_LEVELS)
        return replace(
            self,
            encoding=next(real, RAW),
            quality=next(quality, None),
            compress=next(compress, DEFAULT_COMPRESS),
            copies=COPYRECT in encodings,
            pseudo=frozenset(each for each in Pseudo if each in encodings),
        )

    def with_format(self, wanted: PixelFormat) -> "Wishes":
        """After SetPixelFormat."""
        return replace(self, format=wanted)

    @property
    def draws_cursor(self) -> bool:
        """Whether the client shows the guest's pointer by itself."""
        return not self.pseudo.isdisjoint((Pseudo.CURSOR, Pseudo.CURSOR_WITH_ALPHA))

    @property
    def resizable(self) -> bool:
        """Whether the client follows a change of the screen's size."""
        return not self.pseudo.isdisjoint((Pseudo.DESKTOP_SIZE, Pseudo.EXTENDED_DESKTOP_SIZE))

    def settings(self, lossy: bool) -> EncodeSettings:
        """For an encoder. lossy: the display's option; without it no quality reaches it."""
        return EncodeSettings(
            self.encoding,
            self.format,
            self.quality if lossy else None,
            self.compress,
            Pseudo.LAST_RECT in self.pseudo,
        )
