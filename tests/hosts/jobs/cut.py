"""`init` that stands still at one moment, so that the test can cut a link there; what it raises.

`cut.py MOMENT`: before (no rank has spoken), between (all agreed, nothing is built), world (the
default process group is there, no other), connecting (all addresses are told, nothing is connected).
"""

import logging
import os
import socket
import sys
import time
from typing import Any

from answers import answer, pause

import pgregistry
from pgregistry.building import address_exchange
from pgregistry.runtime import initialize

moment = sys.argv[1]
logging.basicConfig(level=logging.WARNING)


def stand_still_before(owner: Any, name: str) -> None:
    real = getattr(owner, name)

    def paused(*args: Any, **keywords: Any) -> Any:
        setattr(owner, name, real)
        pause("here")
        global begun
        begun = time.monotonic()
        return real(*args, **keywords)

    setattr(owner, name, paused)


begun = time.monotonic()
stand_still_before(
    *{
        "before": (initialize.Agreement, "reach"),
        "between": (initialize, "start_default_group"),
        "world": (initialize, "build"),
        "connecting": (address_exchange.ExchangeStore, "_end"),
    }[moment]
)
try:
    pgregistry.init(zero1={"dedicated": True}, agree_timeout=5, build_timeout=5)
    said = ("nothing", "")
except pgregistry.PgregistryError as error:
    said = (type(error).__name__, str(error))
answer(error=said[0], text=said[1], seconds=time.monotonic() - begun, host=socket.gethostname())
sys.stdout.flush()
os._exit(0)
