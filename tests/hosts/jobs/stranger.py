"""A stranger at the ports of a job, until it is killed: `stranger.py KIND ADDRESS PORT [SOURCE]`.

scan: connect to every port, one after another, and send random bytes. http: ask for a page. garbage: send random bytes.
mute: keep connections open and send nothing, or half a query. half: begin connections from SOURCE, to which no answer
finds its way.
"""

import contextlib
import os
import random
import socket
import sys
import time
from pathlib import Path

PORTS = range(1024, 65536)
KEPT = 300
PAUSE = 0.002

kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
draw = random.Random(kind)
kept: list[socket.socket] = []


def call(there: int, said: bytes = b"", source: str = "") -> socket.socket:
    connection = socket.socket()
    if source:
        connection.bind((source, 0))
        connection.setblocking(False)
        connection.connect_ex((address, there))
    else:
        connection.settimeout(1)
        connection.connect((address, there))
        connection.sendall(said)
    return connection


def once(number: int) -> None:
    if kind == "scan":
        for there in PORTS:
            with contextlib.suppress(OSError):
                call(there, draw.randbytes(64)).close()
    elif kind in ("http", "garbage"):
        request = f"GET / HTTP/1.1\r\nHost: {address}:{port}\r\n\r\n".encode()
        said = request if kind == "http" else draw.randbytes(draw.choice((1, 7, 64, 2000)))
        with call(port, said) as connection:
            if number % 2:
                connection.settimeout(0.1)
                connection.recv(1000)
    elif len(kept) < KEPT:
        kept.append(call(port, b"\x07\x05" * (number % 2) if kind == "mute" else b"", "".join(sys.argv[4:5])))


number = 0
while os.getppid() != 1:
    with contextlib.suppress(OSError):
        once(number)
    number += 1
    Path(f"stranger-{kind}").touch()  # the test waits for a first time
    time.sleep(PAUSE)
