"""Messages in a byte stream: a big-endian 32-bit length, then that many bytes of payload.

A payload is NUL-terminated text fields, the message id first; 7-bit ASCII, with other characters as
`\\uXXXX` escapes (the rule of the API since version 153).
"""

from __future__ import annotations

import re
import struct

MAX_FRAME_BYTES = 16 * 1024 * 1024
"""The longest payload anybody may announce. A day of bars, the largest real one, takes some megabytes."""

_LENGTH = struct.Struct("!I")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_AWKWARD = re.compile(r"[^\x01-\x7f]|\\(?=u[0-9a-fA-F]{4})")
_AWKWARD_OR_BACKSLASH = re.compile(r"[^\x01-\x7f]|\\")


class FrameTooLong(ValueError):
    """The peer announced a payload beyond the limit: not this protocol, or not in step with it.

    `complete` holds the payloads that came whole before it. The stream cannot be read any further.
    """

    def __init__(self, size: int, complete: list[bytes], limit: int = MAX_FRAME_BYTES) -> None:
        super().__init__(f"a frame of {size} bytes was announced, at most {limit} are taken")
        self.size = size
        self.complete = complete


def frame(payload: bytes) -> bytes:
    """`payload` as it goes onto the stream."""
    if len(payload) > MAX_FRAME_BYTES:
        raise FrameTooLong(len(payload), [])
    return _LENGTH.pack(len(payload)) + payload


class Deframer:
    """Cuts a byte stream into payloads, in time linear in the bytes, however they are split."""

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES) -> None:
        """`max_bytes`: the longest payload that is taken, and so the most that is ever held back."""
        self._buffer = bytearray()
        self._max_bytes = max_bytes

    @property
    def pending(self) -> int:
        """Bytes held back for a payload that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that `data` completes, in order. Raises `FrameTooLong`."""
        buffer = self._buffer
        buffer += data
        end = len(buffer)
        payloads: list[bytes] = []
        at = 0
        # One view and one deletion per call: slicing the buffer itself for each payload would copy twice.
        with memoryview(buffer) as view:
            while end - at >= 4:
                (size,) = _LENGTH.unpack_from(view, at)
                if size > self._max_bytes:
                    raise FrameTooLong(size, payloads, self._max_bytes)
                if end - at - 4 < size:
                    break
                at += 4 + size
                payloads.append(bytes(view[at - size : at]))
        if at:
            del buffer[:at]
        return payloads


def escape(text: str) -> str:
    """`text` as one field: nothing but ASCII, no NUL, and no backslash that would read as an escape."""
    if text.isascii() and "\\" not in text and "\0" not in text:
        return text
    return _AWKWARD.sub(_escaped, text)


def escape_fully(text: str) -> str:
    """The same for the fields that the official client reads as Python escapes: every backslash goes."""
    if text.isascii() and "\\" not in text and "\0" not in text:
        return text
    return _AWKWARD_OR_BACKSLASH.sub(_escaped, text)


def unescape(text: str) -> str:
    """The text that a field stands for. A surrogate pair of two escapes is one character again."""
    plain = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _escaped(found: re.Match[str]) -> str:
    # UTF-16 units, as Java writes them: two for a character beyond U+FFFF.
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high << 8 | low:04x}" for high, low in zip(units[::2], units[1::2], strict=True))


def join(fields: list[str]) -> bytes:
    """A payload of fields that are ASCII already (see `escape`)."""
    return ("\0".join(fields) + "\0").encode("ascii")


def split(payload: bytes) -> list[str]:
    """The fields of a payload. Bytes that are not ASCII are kept visible, never an error.

    The last field may lack its NUL: what is there is read all the same.
    """
    text = payload.decode("ascii", "backslashreplace")
    fields = text.split("\0")
    if not fields[-1]:
        fields.pop()
    if "\\u" in text:
        return [unescape(field) for field in fields]
    return fields
