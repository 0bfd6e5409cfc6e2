"""One `init` after another, each with something else on one host than on the others; what each raises.

`disagree.py FOLDER`: where a plugin is installed that may be missing on a host.
"""

import os
import socket
import sys
import time

import torch.distributed as dist
from answers import answer

import pgregistry

host = int(socket.gethostname().removeprefix("host"))
said = {}
for what in ("size", "plugin", "nothing"):
    for odd in (0, 2):
        wrong = host == odd and what != "nothing"
        os.environ["PGREGISTRY"] = "tensor=3" if wrong and what == "size" else "tensor=2"
        sys.path[:] = [path for path in sys.path if path != sys.argv[1]]
        if not (wrong and what == "plugin"):
            sys.path.append(sys.argv[1])
        begun = time.monotonic()
        try:
            with pgregistry.init(agree_timeout=60, build_timeout=60) as context:
                said[f"{what} {odd}"] = ("", " ".join(context.plan.modes), time.monotonic() - begun)
        except pgregistry.PgregistryError as error:
            said[f"{what} {odd}"] = (type(error).__name__, str(error), time.monotonic() - begun)
        assert not dist.is_initialized()
answer(said=said)
