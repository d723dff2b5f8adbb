"""Make the system forget a file, so that loading it reads the disk."""

import os


def evict(path: str) -> bool:
    """Drop a file's clean pages from the page cache; False where the system offers no way."""
    if not hasattr(os, "posix_fadvise"):
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
