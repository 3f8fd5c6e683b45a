"""lz4 as the kernel runs it: the same bytes in give the same number of bytes out.

lib/lz4 picks its hash by the size of the input; for a page it hashes four bytes. ``lz4.block`` of the Python package compresses through a
stream, which always hashes five, so that its results have other lengths (a page of words: 1809 bytes instead of 1990). A frame of one
independent block takes the kernel's path, so the page is compressed as one and the block taken out of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import lz4.frame

PAGE_SIZE = 4096
#: Magic, flags, block size code, header checksum; then the block's length. Behind the block stands the end mark.
_HEADER_BYTES = 7 + 4
_END_BYTES = 4

_compress_frame = partial(lz4.frame.compress, store_size=False)


def compress_all(pages: Sequence[bytes | memoryview]) -> list[bytes]:
    """The lz4 block of each page; a page that does not become smaller comes back as it is, 4096 bytes long."""
    return [frame[_HEADER_BYTES:-_END_BYTES] for frame in map(_compress_frame, pages)]
