"""Run a command of Python in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", **environment}
    return subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, timeout=90, env=env)
