# SPDX-License-Identifier: GPL-2.0-or-later
"""Every encoding decodes to the converted pixels, whatever was sent on the connection before."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.pictures import (
    COMMON_FORMATS,
    KINDS,
    MAX_HEIGHT,
    MAX_WIDTH,
    Picture,
    formats,
    picture,
    pictures,
)
from tests.support.rfb_decoder import Screen
from tests.support.rfb_reader import DecodeError, PixelReader, Reader, Values, channels
from vmm.display.encodings import (
    DEFAULT_COMPRESS,
    HEXTILE,
    RAW,
    SUPPORTED,
    TIGHT,
    TRLE,
    ZLIB,
    ZRLE,
    ClientEncoder,
    EncodedRect,
)
from vmm.display.encodings.tight import MIN_JPEG_PIXELS
from vmm.display.pixels import NATIVE, PixelFormat, convert

NAMES = {RAW: "raw", HEXTILE: "hextile", ZLIB: "zlib", TIGHT: "tight", TRLE: "trle", ZRLE: "zrle"}
each_encoding = pytest.mark.parametrize("encoding", SUPPORTED, ids=NAMES.__getitem__)


@dataclass
class Connection:
    """An encoder and the client it encodes for."""

    encoder: ClientEncoder
    screen: Screen

    @classmethod
    def new(cls, width: int, height: int, fmt: PixelFormat = NATIVE) -> "Connection":
        return cls(ClientEncoder(), Screen(width, height, fmt))

    def send(
        self,
        pixels: Picture,
        encoding: int,
        place: tuple[int, int] = (0, 0),
        quality: int | None = None,
        compress: int = DEFAULT_COMPRESS,
    ) -> list[EncodedRect]:
        """Encode, decode, and check that the area and nothing else is what it should be."""
        fmt = self.screen.fmt
        x, y = place
        area = np.s_[y : y + pixels.shape[0], x : x + pixels.shape[1]]
        before = self.screen.values.copy()
        rects = self.encoder.encode(pixels, x, y, encoding, fmt, quality, compress, False)
        for rect in rects:
            assert rect.encoding == encoding
            self.screen.draw(rect)
        wanted = values(pixels, fmt)
        exact = ~self.screen.lossy[area]
        np.testing.assert_array_equal(self.screen.values[area][exact], wanted[exact])
        before[area] = self.screen.values[area]
        np.testing.assert_array_equal(self.screen.values, before)
        assert sum(rect.width * rect.height for rect in rects) == pixels.size
        return rects


def values(pixels: Picture, fmt: PixelFormat) -> Values:
    wire = Reader(convert(pixels, fmt).tobytes())
    return PixelReader.pixel(fmt).read(wire, pixels.size).reshape(pixels.shape)


def intensities(found: Values, fmt: PixelFormat) -> NDArray[np.float64]:
    levels = [
        (found >> np.uint64(shift) & np.uint64((1 << maximum.bit_length()) - 1)) / maximum
        for maximum, shift in channels(fmt)
    ]
    return np.stack(levels) * 255


@dataclass
class Update:
    """One area to be sent."""

    pixels: Picture
    encoding: int
    place: tuple[int, int]
    compress: int
    fmt: PixelFormat | None


updates = st.builds(
    Update,
    pictures(),
    st.sampled_from(SUPPORTED),
    st.tuples(st.integers(0, 40), st.integers(0, 40)),
    st.integers(0, 9),
    st.none() | formats(),
)


@given(formats(), st.lists(updates, min_size=1, max_size=4))
def test_any_sequence_of_updates_gives_the_client_exactly_the_pixels(
    fmt: PixelFormat, sequence: list[Update]
) -> None:
    connection = Connection.new(MAX_WIDTH + 40, MAX_HEIGHT + 40, fmt)
    for update in sequence:
        if update.fmt is not None:  # SetPixelFormat: the streams go on
            connection.screen.fmt = update.fmt
        connection.send(update.pixels, update.encoding, update.place, compress=update.compress)


@each_encoding
@given(formats(), pictures(), st.integers(0, 9))
def test_a_picture_of_any_kind_arrives(
    encoding: int, fmt: PixelFormat, pixels: Picture, compress: int
) -> None:
    connection = Connection.new(pixels.shape[1], pixels.shape[0], fmt)
    connection.send(pixels, encoding, compress=compress)


@given(pictures(), formats(), st.integers(0, 9))
def test_jpeg_keeps_the_mean_colour_and_comes_only_where_the_client_allows_it(
    pixels: Picture, fmt: PixelFormat, quality: int
) -> None:
    connection = Connection.new(pixels.shape[1], pixels.shape[0], fmt)
    connection.send(pixels, TIGHT, quality=quality)
    lossy = connection.screen.lossy
    if fmt.bits_per_pixel == 8 or pixels.size < MIN_JPEG_PIXELS:
        assert not lossy.any()
    fine = min(maximum for maximum, _ in channels(fmt)) >= 15
    if lossy.any() and fine:
        found, wanted = connection.screen.values[lossy], values(pixels, fmt)[lossy]
        error = intensities(found, fmt).mean(axis=1) - intensities(wanted, fmt).mean(axis=1)
        assert np.abs(error).max() < 30


def test_a_photo_stays_a_photo_as_jpeg() -> None:
    pixels = picture("gradient", 300, 200, np.random.default_rng(1))
    sizes = []
    for quality, allowed in ((9, 12), (0, 40)):
        connection = Connection.new(300, 200)
        rects = connection.send(pixels, TIGHT, quality=quality)
        assert connection.screen.lossy.all()
        found = intensities(connection.screen.values, NATIVE)
        assert np.abs(found - intensities(values(pixels, NATIVE), NATIVE)).max() < allowed
        sizes.append(sum(len(rect.payload) for rect in rects))
    assert sizes[0] > sizes[1]


@each_encoding
@pytest.mark.parametrize("fmt", COMMON_FORMATS[::4], ids=lambda fmt: fmt.pack().hex()[:26])
def test_a_screen_larger_than_any_limit_of_an_encoding_arrives(
    encoding: int, fmt: PixelFormat
) -> None:
    random = np.random.default_rng(2)
    pixels = picture("text", 2200, 100, random)
    pixels[40:, 2000:] = picture("gradient", 200, 60, random)
    pixels[:20] = 0x123456
    rects = Connection.new(2200, 100, fmt).send(pixels, encoding)
    if encoding == TIGHT:
        assert max(rect.width for rect in rects) <= 2048
        assert max(rect.width * rect.height for rect in rects[1:]) <= 65536


@each_encoding
@pytest.mark.parametrize("kind", KINDS)
def test_no_encoding_but_raw_is_much_longer_than_raw(encoding: int, kind: str) -> None:
    pixels = picture(kind, 400, 300, np.random.default_rng(3))
    rects = Connection.new(400, 300).send(pixels, encoding)
    assert sum(len(rect.payload) for rect in rects) <= pixels.nbytes * 1.01 + 100


@each_encoding
def test_a_screen_of_text_shrinks(encoding: int) -> None:
    pixels = picture("text", 640, 480, np.random.default_rng(4))
    rects = Connection.new(640, 480).send(pixels, encoding)
    if encoding != RAW:
        assert sum(len(rect.payload) for rect in rects) < pixels.nbytes / 10


@pytest.mark.parametrize("encoding", [ZLIB, ZRLE, TIGHT], ids=NAMES.__getitem__)
def test_the_streams_remember_what_they_sent(encoding: int) -> None:
    pixels = picture("few", 90, 50, np.random.default_rng(5))
    connection = Connection.new(90, 50)
    first, second = (
        sum(len(rect.payload) for rect in connection.send(pixels, encoding)) for _ in range(2)
    )
    assert second < first / 2


@pytest.mark.parametrize("encoding", [ZLIB, ZRLE, TIGHT], ids=NAMES.__getitem__)
def test_a_client_may_change_its_compression_level(encoding: int) -> None:
    pixels = picture("few", 120, 70, np.random.default_rng(6))
    connection = Connection.new(120, 70)
    sizes = {}
    for level in (0, 9, 1, 1, 0, 9):
        rects = connection.send(pixels, encoding, compress=level)
        sizes[level] = sum(len(rect.payload) for rect in rects)
    assert sizes[0] > sizes[9]


def test_large_areas_of_one_colour_become_fills() -> None:
    pixels = picture("noise", 300, 200, np.random.default_rng(7))
    pixels[48:160, 64:256] = 0xABCDEF
    rects = Connection.new(300, 200).send(pixels, TIGHT)
    fills = [rect for rect in rects if rect.payload[0] == 0x80]
    assert [(r.x, r.y, r.width, r.height) for r in fills] == [(64, 48, 192, 112)]
    assert fills[0].payload == bytes((0x80, 0xAB, 0xCD, 0xEF))


def test_lines_of_two_colours_each_take_one_bit_a_pixel() -> None:
    pixels = np.zeros((60, 400), np.uint32)
    for line in range(4):
        pixels[line * 15 : line * 15 + 10 : 2, ::3] = line * 0x402010 + 0x10
    rects = Connection.new(400, 60).send(pixels, TIGHT)
    assert len(rects) == 4
    assert {rect.payload[:3] for rect in rects} == {bytes((0x50, 1, 1))}


def test_each_kind_of_tight_data_has_a_stream_of_its_own() -> None:
    random = np.random.default_rng(10)
    controls = {}
    for kind in ("two", "few", "noise"):
        (rect,) = Connection.new(60, 60).send(picture(kind, 60, 60, random), TIGHT)
        controls[kind] = rect.payload[0]
    assert controls == {"two": 0x50, "few": 0x60, "noise": 0x00}


@each_encoding
@pytest.mark.parametrize("fmt", COMMON_FORMATS, ids=lambda fmt: fmt.pack().hex()[:26])
def test_the_smallest_pictures_arrive(encoding: int, fmt: PixelFormat) -> None:
    random = np.random.default_rng(11)
    connection = Connection.new(18, 3, fmt)
    for width in range(1, 19):
        for height in range(1, 4):
            for kind in ("two", "few", "noise"):
                connection.send(picture(kind, width, height, random), encoding)


@pytest.mark.parametrize("encoding", [HEXTILE, TIGHT, TRLE, ZRLE], ids=NAMES.__getitem__)
@pytest.mark.parametrize("fmt", COMMON_FORMATS[:3], ids=["xrgb", "big-endian", "xbgr"])
def test_the_unused_byte_of_the_screen_makes_no_colours(encoding: int, fmt: PixelFormat) -> None:
    random = np.random.default_rng(12)
    pixels = picture("blocks", 90, 70, random)
    rubbish = pixels | random.integers(0, 256, pixels.shape, np.uint32) << np.uint32(24)
    clean, dirty = (
        [bytes(rect.payload) for rect in Connection.new(90, 70, fmt).send(each, encoding)]
        for each in (pixels, rubbish)
    )
    assert clean == dirty


def test_an_empty_area_gives_no_rectangle() -> None:
    empty = np.zeros((0, 5), np.uint32)
    assert ClientEncoder().encode(empty, 0, 0, ZRLE, NATIVE, None, 9, False) == []


@pytest.mark.parametrize(
    ("encoding", "quality", "compress", "said"),
    [(2, None, 9, "encoding 2"), (7, 10, 9, "quality 10"), (7, None, -1, "level -1")],
)
def test_what_there_is_not_is_refused(
    encoding: int, quality: int | None, compress: int, said: str
) -> None:
    pixels = np.zeros((1, 1), np.uint32)
    with pytest.raises(ValueError, match=said):
        ClientEncoder().encode(pixels, 0, 0, encoding, NATIVE, quality, compress, False)


def test_a_rectangles_header_is_that_of_the_rfc() -> None:
    assert EncodedRect(1, 2, 3, 4, -239, b"").header().hex() == "0001000200030004ffffff11"


@each_encoding
def test_payloads_that_are_kept_stay_as_they_are(encoding: int) -> None:
    """Large ones are views of a buffer that is used again, but not while somebody looks at it."""
    encoder, kept, copies = ClientEncoder(), [], []
    for seed in range(4):
        pixels = picture("noise", 260, 200, np.random.default_rng(seed))
        for rect in encoder.encode(pixels, 0, 0, encoding, NATIVE, None, 9, False):
            kept.append(rect.payload)
            copies.append(bytes(rect.payload))
        if seed == 1:
            kept, copies = kept[:1], copies[:1]  # the second one may go
    assert kept == copies


def test_a_payload_that_is_dropped_costs_no_new_buffer() -> None:
    pixels = picture("noise", 260, 200, np.random.default_rng(1))
    encoder, places = ClientEncoder(), set()
    for _ in range(5):
        (rect,) = encoder.encode(pixels, 0, 0, RAW, NATIVE, None, 9, False)
        places.add(np.frombuffer(rect.payload, np.uint8).ctypes.data)
        del rect
    assert len(places) == 1


@each_encoding
@pytest.mark.parametrize("kind", KINDS)
def test_the_decoder_accepts_nothing_shorter_or_longer(encoding: int, kind: str) -> None:
    pixels = picture(kind, 40, 30, np.random.default_rng(8))
    rects = ClientEncoder().encode(pixels, 0, 0, encoding, NATIVE, None, 9, False)
    (rect,) = rects
    payload = bytes(rect.payload)
    lengths = {0, 1, 2, 3, 4, 5, len(payload) // 2, len(payload) - 1}
    for length in sorted(length for length in lengths if length < len(payload)):
        with pytest.raises(DecodeError):
            Screen(40, 30, NATIVE).draw(replace(rect, payload=payload[:length]))
    with pytest.raises(DecodeError):
        Screen(40, 30, NATIVE).draw(replace(rect, payload=payload + b"\0"))


@each_encoding
@given(data=st.data())
def test_the_decoder_survives_any_damage(encoding: int, data: st.DataObject) -> None:
    pixels = picture(data.draw(st.sampled_from(KINDS)), 33, 20, np.random.default_rng(9))
    (rect,) = ClientEncoder().encode(pixels, 0, 0, encoding, NATIVE, None, 9, False)
    payload = bytearray(rect.payload)
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= data.draw(st.integers(1, 255))
    screen = Screen(33, 20, NATIVE)
    try:
        screen.draw(replace(rect, payload=bytes(payload)))
    except DecodeError:
        assert not screen.values.any()
