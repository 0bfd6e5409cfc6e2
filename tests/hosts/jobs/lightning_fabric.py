"""Two processes that Lightning's Fabric starts, each of which writes what it knows of its place."""

from __future__ import annotations

import os
import sys

import lightning
from engine import said

fabric = lightning.Fabric(accelerator="cpu", devices=2, strategy="ddp")
fabric.launch()
os.write(1, f"> {said(host='host' in sys.argv)}\n".encode())
