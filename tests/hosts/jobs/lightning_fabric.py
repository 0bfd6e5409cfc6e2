"""Two processes that Lightning's Fabric starts, each of which writes what it knows of its place."""

from __future__ import annotations

import os
import sys

import lightning
from engine import said

from pgregistry import HOST

fabric = lightning.Fabric(accelerator="cpu", devices=2, strategy="ddp")
fabric.launch()
os.write(1, f"> {said(*([HOST] if 'host' in sys.argv else []))}\n".encode())
