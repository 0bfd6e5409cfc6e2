"""examples/elastic.py, which stands still in its second checkpoint of each round: `elastic.py EXAMPLE FOLDER ROUNDS`.

There the test disturbs it, and torchrun ends the round, at once or after the timeout. The round after so many is left
alone.
"""

import importlib.util
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import torch

source, folder, rounds = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
specification = importlib.util.spec_from_file_location("elastic", source)
assert specification is not None
assert specification.loader is not None
elastic = importlib.util.module_from_spec(specification)
specification.loader.exec_module(elastic)
elastic.STEPS, elastic.TIMEOUT = 100, 5
saves, real = count(1), torch.save


def save(*args: Any, **keywords: Any) -> None:
    round_ = len(list(folder.glob("round*")))
    if next(saves) == 2 and round_ < rounds:
        (folder / f"round{round_}").touch()
        while not (folder / f"round{round_}-go").exists():
            time.sleep(0.01)
    real(*args, **keywords)


torch.save = save
elastic.train(folder)
