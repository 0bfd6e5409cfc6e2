"""Clear what DTensor has cached about meshes that died.

DTensor caches its decisions by equal meshes, and some of what it caches holds a mesh. When the process groups of that
mesh are destroyed, an equal mesh over new process groups would still be given the dead one.
"""

from __future__ import annotations

import functools
import gc
import logging
import sys
from typing import Final

import torch

log = logging.getLogger(__name__)

_DTENSOR: Final = "torch.distributed.tensor"


def forget_meshes() -> None:
    """Clear the caches of DTensor, so that it decides anew when it is next used.

    Its caches in Python, in all threads, are found by what they are: `functools.lru_cache` of a function of DTensor.
    The cache of its C++ part can be cleared by a private call alone, in this thread. If this torch lacks the call,
    an equal mesh works again only if its process groups have the names of those that were destroyed.
    """
    if _DTENSOR not in sys.modules:
        return
    for cache in gc.get_objects():
        if type(cache) is functools._lru_cache_wrapper and (cache.__module__ or "").startswith(_DTENSOR):
            cache.cache_clear()
    clear = getattr(torch._C, "_clear_DTensor_sharding_propagator_cache", None)
    if clear is None:
        log.debug("This torch has no call that clears the C++ part of DTensor's cache.")
    else:
        clear()
