"""The end of a wait in gloo: for an address that does not come, and for a connection."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
import torch.distributed as dist

from pgregistry.torch_private.gloo import end_wait


def make(store: Any, name: str, position: int, raised: list[str]) -> None:
    """Make a process group of three members, as torch does."""
    below = dist.PrefixStore("cpu/", dist.PrefixStore(f"{name}/", store.clone()))
    try:
        dist.ProcessGroupGloo(below, position, 3, timedelta(seconds=300))
    except Exception as error:
        raised.append(str(error))


@pytest.mark.parametrize("others", [(), (1,), (2,)])
def test_a_wait_for_members_that_do_not_come_ends(others: tuple[int, ...]) -> None:
    """One rank waits for an address, or for the connection of a member that has published its address and died."""
    store, raised = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False), list[str]()
    for member in others:
        store.set(f"tensor/0//cpu//0/{member}", _address_of_another(store))
    waits = threading.Thread(target=make, args=(store, "tensor/0", 0, raised), daemon=True)
    waits.start()
    for _ in range(100):
        waits.join(0.2)
        if not waits.is_alive():
            break
        end_wait("tensor/0", 0, 3, store)
    assert not waits.is_alive()
    assert raised


def _address_of_another(store: Any) -> bytes:
    """Return the address of a process group that nobody connects from."""
    name = f"other/{store.add('others', 1)}"
    waits = threading.Thread(target=make, args=(store, name, 0, []), daemon=True)
    waits.start()
    address: bytes = store.get(f"{name}//cpu//0/0")
    return address
