"""Claims of ranks, on real stores."""

from __future__ import annotations

import torch.distributed as dist

from pgregistry.coordination.meeting.claim import Claim, refuse_second


def test_a_second_process_is_told_also_if_the_store_has_ended() -> None:
    server = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    servers, port = [server], server.port
    del server
    store = dist.TCPStore("127.0.0.1", port, is_master=False, wait_for_workers=False)
    servers.clear()
    error = refuse_second(store, 1, 4, Claim("", process="process 8 on n1"), Claim("", process="process 7 on n1"))
    assert str(error).startswith("Two processes say that they are rank 1 of 4: process 7 on n1, and process 8 on n1.")
    assert error.ranks == (1,)
