"""Four workers of Ray Train, each of which writes what it knows of its place: `ray_train.py FOLDER`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

HERE = str(Path(__file__).parent)
PATH = [HERE, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]


def loop(config: dict[str, str]) -> None:
    """Write what one worker knows."""
    sys.path[:0] = config["path"].split(os.pathsep)
    from engine import said

    from pgregistry import HOST

    rank = os.environ["RANK"]
    Path(config["folder"], rank).write_text(f"> {said(HOST)}\n", encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="ray-") as short:  # Ray's sockets need short paths
        ray.init(num_cpus=4, include_dashboard=False, object_store_memory=100 << 20, _temp_dir=short)
        trainer = TorchTrainer(
            loop,
            train_loop_config={"folder": sys.argv[1], "path": os.pathsep.join(PATH)},
            scaling_config=ScalingConfig(num_workers=4),
            torch_config=TorchConfig(backend="gloo"),
            run_config=RunConfig(storage_path=f"{sys.argv[1]}/results"),
        )
        trainer.fit()
        ray.shutdown()
    for path in sorted(Path(sys.argv[1]).glob("[0-9]")):
        sys.stdout.write(path.read_text(encoding="utf-8"))
