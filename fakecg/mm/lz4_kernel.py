"""lz4 as the kernel runs it: the same bytes in give the same number of bytes out.

lib/lz4 picks its hash by the size of the input; for a page it hashes four bytes. ``lz4.block`` of the Python package compresses through a
stream, which always hashes five, so that its results have other lengths (a page of words: 1809 bytes instead of 1990). The library inside
the package has the call that takes the kernel's path, LZ4_compress_default; it is called directly. Where the package hides it, a frame of
one independent block takes the same path, and the block is cut out of it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import partial
from typing import Protocol

import lz4.block
import lz4.frame

from fakecg.abi.units import PAGE_SIZE

#: Of a frame: magic, flags, block size code, header checksum; then the block's length. Behind the block stands the end mark.
_HEADER_BYTES = 7 + 4
_END_BYTES = 4
#: Pages whose results stand side by side before somebody has to copy them away.
_BATCH_PAGES = 256

_compress_frame = partial(lz4.frame.compress, store_size=False)


def compress_by_frames(pages: Sequence[bytes | memoryview], *, stop: bool = False, place: int = 0) -> list[bytes | memoryview]:
    """As a new_compressor(), through the package's public functions."""
    results: list[bytes | memoryview] = []
    for frame in map(_compress_frame, pages):
        results.append(frame[_HEADER_BYTES:-_END_BYTES])
        if stop and len(results[-1]) == PAGE_SIZE:
            results.pop()
            break
    return results


def _by_library() -> Compressor:
    """A compressor that calls the library itself; a page costs half a microsecond less.

    Raises:
        AttributeError, OSError: the package's library does not offer the call.
    """
    # The call is too short to let go of the interpreter's lock around it.
    compress = ctypes.PyDLL(lz4.block._block.__file__).LZ4_compress_default
    compress.argtypes = (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
    buffer = ctypes.create_string_buffer(_BATCH_PAGES * PAGE_SIZE)
    address = ctypes.addressof(buffer)
    view = memoryview(buffer)

    def compress_batch(pages: Sequence[bytes | memoryview], *, stop: bool = False, place: int = 0) -> list[bytes | memoryview]:
        if place + len(pages) > _BATCH_PAGES:
            return compress_by_frames(pages, stop=stop)
        results: list[bytes | memoryview] = []
        start = place * PAGE_SIZE
        for page in pages:
            # One byte less than a page: what does not become smaller is not compressed.
            length = compress(page if type(page) is bytes else bytes(page), address + start, PAGE_SIZE, PAGE_SIZE - 1)
            if length:
                end = start + length
                results.append(view[start:end])
                start = end
            elif stop:
                break
            else:
                results.append(page)
        return results

    return compress_batch


class Compressor(Protocol):
    """Compresses pages."""

    def __call__(self, pages: Sequence[bytes | memoryview], *, stop: bool = False, place: int = 0) -> list[bytes | memoryview]:
        """The lz4 block of each page, in the compressor's buffer; a page that does not become smaller comes back as it is.

        Args:
            stop: end before the first page that does not become smaller.
            place: after how many pages' room in the buffer the results stand; those of earlier calls behind it are lost.
        """
        ...


def new_compressor() -> Compressor:
    """A compressor with a buffer of its own: machines in one process do not wait for each other."""
    try:
        return _by_library()
    except (AttributeError, OSError):
        return compress_by_frames
