# SPDX-License-Identifier: GPL-2.0-or-later
"""JSON values out of a byte stream that may be cut anywhere, by the rules of QEMU's parser.

Source: RFC 8259, QEMU's docs/interop/qmp-spec.rst (2.6) and the behaviour of QEMU 7.2 and 10.0.
QEMU's extension of strings in single quotes is understood.

Rules
 1. What comes out does not depend on how the bytes were cut: a token ends by what follows it.
 2. Text that is no token is one error, ``stray``; then everything is skipped up to a structural
    character (which counts), a control character, or a byte that UTF-8 does not have. So a client
    that lost track sends 0xFF, or any control character, and starts anew.
 3. A value that is wrong inside is one error, given at the end of the value.
 4. Memory is bounded: bytes and tokens of a value, and nesting. Every byte is looked at once.
"""

import math
import re
from dataclasses import dataclass
from typing import Any

MAX_BYTES = 1 << 20  # of one value, white space not counted
MAX_TOKENS = 1 << 16
MAX_NESTING = 100  # what is taken is checked, written and shown by recursion; QEMU: 1024

_SPACE = re.compile(rb"[ \t\r\n]*")
_IN_QUOTES = {
    ord('"'): re.compile(rb'[^"\\\x00-\x1f\xfe\xff]*'),
    ord("'"): re.compile(rb"[^'\\\x00-\x1f\xfe\xff]*"),
}
_RUN = {"keyword": re.compile(rb"[a-z]*"), "number": re.compile(rb"[0-9eE.+-]*")}
_NUMBER = re.compile(rb"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_LOST = re.compile(rb"[^{}\[\]:,\x00-\x08\x0a-\x1f\xfe\xff]*")
_STRUCTURAL = frozenset(b"{}[]:,")
_KEYWORDS: dict[str, Any] = {"true": True, "false": False, "null": None}
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"} | {c: c for c in "\"'\\/"}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|u|.)", re.DOTALL)
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_LONE = re.compile("[\ud800-\udfff]")
_INT64_MIN, _UINT64_MAX = -(1 << 63), (1 << 64) - 1


class JsonError(ValueError):
    """Not JSON; the text is QEMU's, ``JSON parse error, ...``."""


@dataclass(frozen=True)
class Parsed:
    """One value, or the error that stands where a value was expected."""

    value: Any = None
    error: JsonError | None = None


def _parse_error(what: str) -> JsonError:
    return JsonError(f"JSON parse error, {what}")


class JsonStream:
    """Feed bytes, take values. Not thread-safe."""

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0
        self._mode = "start"  # string, escape, keyword, number, lost
        self._quote = 0
        self._token = bytearray()
        self._value = _Builder()

    def feed(self, data: bytes) -> None:
        """Take more bytes; :meth:`next` says what they mean."""
        self._bytes = self._bytes[self._at :] + data
        self._at = 0

    @property
    def pending(self) -> bool:
        """Whether bytes are left that :meth:`next` has not looked at."""
        return self._at < len(self._bytes)

    def next(self) -> Parsed | None:
        """The next value or error in what was fed; None when more bytes are needed."""
        while self.pending:
            try:
                done = self._step()
            except JsonError as error:
                self._start_anew()
                return Parsed(error=error)
            if done is not None:
                return done
        return None

    def _start_anew(self) -> None:
        self._value = _Builder()
        self._token.clear()

    def _step(self) -> Parsed | None:
        """One token or part of one. Raises JsonError for text that is none."""
        if self._mode == "start":
            return self._begin()
        if self._mode == "lost":
            self._find_way()
            return None
        if self._mode in ("string", "escape"):
            return self._in_string()
        return self._in_word()

    def _begin(self) -> Parsed | None:
        self._skip(_SPACE)
        if not self.pending:
            return None
        byte = self._take()
        if byte in _STRUCTURAL:
            return self._value.add(chr(byte), None, 1)
        self._token.append(byte)
        if byte in _IN_QUOTES:
            self._mode, self._quote = "string", byte
        elif ord("a") <= byte <= ord("z"):
            self._mode = "keyword"
        elif byte == ord("-") or ord("0") <= byte <= ord("9"):
            self._mode = "number"
        else:
            raise self._stray()
        return None

    def _find_way(self) -> None:
        self._skip(_LOST)
        if self.pending:
            if self._bytes[self._at] not in _STRUCTURAL:
                self._at += 1
            self._mode = "start"

    def _in_string(self) -> Parsed | None:
        if self._mode == "string":
            self._grow(_IN_QUOTES[self._quote])
            if not self.pending:
                return None
        byte = self._take()
        self._token.append(byte)
        if byte < 0x20 or byte >= 0xFE:
            raise self._stray()
        if self._mode == "escape":
            self._mode = "string"
        elif byte == self._quote:
            text = self._end_token()
            return self._value.add("string", text[1:-1], len(text))
        else:
            self._mode = "escape"
        return None

    def _in_word(self) -> Parsed | None:
        kind = self._mode
        self._grow(_RUN[kind])
        if not self.pending:
            return None
        if kind == "number" and not _NUMBER.fullmatch(self._token):
            raise self._stray()
        text = self._end_token()
        return self._value.add(kind, text, len(text))

    def _skip(self, what: re.Pattern[bytes]) -> None:
        found = what.match(self._bytes, self._at)
        assert found is not None  # these patterns match nothing, too
        self._at = found.end()

    def _take(self) -> int:
        self._at += 1
        return self._bytes[self._at - 1]

    def _grow(self, what: re.Pattern[bytes]) -> None:
        start = self._at
        self._skip(what)
        self._token += self._bytes[start : self._at]
        if len(self._token) > MAX_BYTES:
            self._mode = "start"
            raise JsonError("JSON token size limit exceeded")

    def _end_token(self) -> bytes:
        text = bytes(self._token)
        self._token.clear()
        self._mode = "start"
        return text

    def _stray(self) -> JsonError:
        self._mode = "lost"
        text = self._token[:100].decode("utf-8", "replace")
        return _parse_error(f"stray '{text}'")


class _Builder:
    """One value from its tokens. Knows the grammar; remembers the first error until the end."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._bytes = self._tokens = 0
        self._depth = {"{": 0, "[": 0}
        self._open: list[dict[str, Any] | list[Any]] = []
        self._keys: list[str] = []
        self._expect = "value"  # first (value or end), key, firstkey, colon, separator, done
        self._result: Any = None
        self._error: JsonError | None = None

    def add(self, kind: str, text: bytes | None, size: int) -> Parsed | None:
        """The value, if this token ends it. Raises JsonError at a limit."""
        self._count(kind, size)
        if self._error is None:
            try:
                self._accept(kind, text)
            except JsonError as error:
                self._error = error
        if min(self._depth.values()) >= 0 and max(self._depth.values()) > 0:
            return None
        done = Parsed(self._result, self._error)
        if self._error is None and self._expect != "done":
            done = Parsed(error=_parse_error("expecting value"))
        self._clear()
        return done

    def _count(self, kind: str, size: int) -> None:
        if kind in "{[":
            self._depth[kind] += 1
        elif kind in "}]":
            self._depth["{" if kind == "}" else "["] -= 1
        self._bytes += size
        self._tokens += 1
        if self._bytes > MAX_BYTES:
            raise JsonError("JSON token size limit exceeded")
        if self._tokens > MAX_TOKENS:
            raise JsonError("JSON token count limit exceeded")
        if sum(self._depth.values()) > MAX_NESTING:
            raise JsonError("JSON nesting depth limit exceeded")

    def _accept(self, kind: str, text: bytes | None) -> None:
        expect = self._expect
        if expect == "separator":
            self._separator(kind)
        elif expect == "colon":
            if kind != ":":
                raise _parse_error("missing : in object pair")
            self._expect = "value"
        elif (kind, expect) in (("}", "firstkey"), ("]", "first")):
            self._end_container()
        elif expect in ("key", "firstkey"):
            self._key(kind, text)
        else:
            self._take_value(kind, text)

    def _separator(self, kind: str) -> None:
        inside = self._open[-1]
        if kind == ("}" if isinstance(inside, dict) else "]"):
            self._end_container()
        elif kind != ",":
            where = "dict" if isinstance(inside, dict) else "list"
            raise _parse_error(f"expected separator in {where}")
        else:
            self._expect = "key" if isinstance(inside, dict) else "value"

    def _key(self, kind: str, text: bytes | None) -> None:
        if kind in "}]:,":
            raise _parse_error("expecting value")
        key = None if kind in "{[" else _scalar(kind, text)
        if not isinstance(key, str):
            raise _parse_error("key is not a string in object")
        self._keys.append(key)
        self._expect = "colon"

    def _take_value(self, kind: str, text: bytes | None) -> None:
        if kind in "}]:,":
            raise _parse_error("expecting value")
        if kind in "{[":
            self._open.append({} if kind == "{" else [])
            self._expect = "firstkey" if kind == "{" else "first"
        else:
            self._put(_scalar(kind, text))

    def _end_container(self) -> None:
        self._put(self._open.pop())

    def _put(self, value: Any) -> None:
        if not self._open:
            self._result, self._expect = value, "done"
            return
        inside = self._open[-1]
        if isinstance(inside, list):
            inside.append(value)
        else:
            key = self._keys.pop()
            if key in inside:
                raise _parse_error("duplicate key")
            inside[key] = value
        self._expect = "separator"


def _scalar(kind: str, text: bytes | None) -> Any:
    assert text is not None
    if kind == "string":
        return _string(text)
    if kind == "number":
        return _number(text)
    word = text.decode("ascii")
    if word not in _KEYWORDS:
        raise _parse_error(f"invalid keyword '{word[:100]}'")
    return _KEYWORDS[word]


def _number(text: bytes) -> int | float:
    if text.lstrip(b"-").isdigit() and len(text) <= 20:
        whole = int(text)
        if _INT64_MIN <= whole <= _UINT64_MAX:
            return whole
    number = float(text)
    if not math.isfinite(number):
        raise _parse_error("number out of range")
    return number


def _string(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _parse_error("invalid UTF-8 sequence in string") from None
    if "\\" not in text:
        return text
    text = _ESCAPE.sub(_unescape, text)
    text = _PAIR.sub(lambda pair: _join(pair[0]), text)
    if _LONE.search(text):
        raise _parse_error("invalid Unicode escape in string: half of a surrogate pair")
    return text


def _unescape(found: re.Match[str]) -> str:
    escape = found[1]
    if len(escape) == 5:
        return chr(int(escape[1:], 16))
    if escape == "u":
        context = found.string[found.start() : found.start() + 6]
        raise _parse_error(f"invalid hex escape '{context}' in string")
    if escape not in _ESCAPES:
        raise _parse_error(f"invalid escape sequence '\\{escape}' in string")
    return _ESCAPES[escape]


def _join(pair: str) -> str:
    return pair.encode("utf-16", "surrogatepass").decode("utf-16")
