"""Values that only `init` takes: those of a launcher, and its own parameters."""

from refusals import Refusal, Section

INIT = Section(
    "Launchers and parameters of init",
    "",
    (
        Refusal(
            "The variables of a launcher are incomplete, or contradict each other.",
            """`init` reads `RANK` and `WORLD_SIZE`, or the names that Slurm and MPI have for them, and the address of
            rank 0. If none of them is set, the process is a world of 1.""",
            """
            import os, pgregistry
            os.environ["WORLD_SIZE"] = "2"
            pgregistry.init()
            os.environ["RANK"] = "0"
            pgregistry.init()
            os.environ.update(MASTER_ADDR="host0", MASTER_PORT="abc")
            pgregistry.init()
            """,
            """
            # lost.py
            import os
            import pgregistry

            try:
                os.environ["RANK"] = "2"
                pgregistry.init(backend="gloo")
            except pgregistry.ConfigError as error:
                print(error)
            """,
            "$ torchrun --nproc-per-node 1 lost.py",
        ),
        Refusal(
            "`MASTER_ADDR` is not a host name or IP address.",
            "Give the name or the address alone; the port is in `MASTER_PORT`.",
            """
            import os, pgregistry
            os.environ.update(RANK="0", WORLD_SIZE="2", MASTER_ADDR="tcp://[fd00::1]:29500", MASTER_PORT="29500")
            pgregistry.init()
            """,
        ),
        Refusal(
            "A script of Slurm runs without srun.",
            "Only `srun` starts a process for each task.",
            """
            import os, pgregistry
            os.environ.update(RANK="", SLURM_PROCID="0", SLURM_NTASKS="8", SLURM_JOB_NODELIST="n[1-2]")
            pgregistry.init()
            """,
        ),
        Refusal(
            "`RANK` and `WORLD_SIZE` contradict the launcher.",
            "They were set by hand, in a profile or a script. The launcher alone must set them.",
            """
            import os, pgregistry
            os.environ.update(RANK="0", WORLD_SIZE="1", OMPI_COMM_WORLD_RANK="3", OMPI_COMM_WORLD_SIZE="8")
            pgregistry.init()
            """,
        ),
        Refusal(
            "torch is not installed.",
            "A plan needs no torch; process groups do.",
            """
            # hidden
            import sys
            from unittest.mock import patch
            without = patch.dict(sys.modules, {"torch": None})
            without.start()
            """,
            "pgregistry.init()",
            """
            # hidden
            without.stop()
            """,
        ),
        Refusal(
            "A parameter of `init` has an invalid value.",
            "All ranks must pass the same.",
            """
            # run.py
            import pgregistry

            for wrong in ({"timeout": 0}, {"agree_timeout": None}, {"cpu": 1}, {"device": "gpu"}):
                try:
                    pgregistry.init(backend="gloo", **wrong)
                except pgregistry.ConfigError as error:
                    print(error)
            """,
            "$ torchrun --nproc-per-node 1 run.py",
        ),
        Refusal(
            "A plan that is given to `init` is for another world, or has something beside it that shapes a plan.",
            "Make the plan with these sizes and for this world size, or leave out `plan=`.",
            """
            # given.py
            import pgregistry

            plan = pgregistry.plan(1, only=["data"])
            for wrong in ({"plan": plan, "tensor": 2}, {"plan": plan.to_json()}, {"plan": pgregistry.plan(8)}):
                try:
                    pgregistry.init(backend="gloo", **wrong)
                except pgregistry.ConfigError as error:
                    print(error)
            """,
            "$ torchrun --nproc-per-node 1 given.py",
        ),
        Refusal(
            "torch is too old for `init`, or does not have the backend.",
            "The torch of these examples was built for CPUs. Without `backend=`, `init` takes the one that torch has.",
            """
            # hidden
            import environment
            import torch
            import torch.distributed as dist
            from contextlib import ExitStack
            from unittest.mock import patch
            for name in environment.set_by_launchers():
                del os.environ[name]
            patches = ExitStack()
            patches.enter_context(patch.object(torch, "__version__", "2.8.0+cpu"))
            """,
            "pgregistry.init()",
            """
            # hidden
            patches.close()
            patches.enter_context(patch.object(dist, "is_nccl_available", lambda: False))
            patches.enter_context(patch.object(dist, "is_backend_available", lambda name: name == "gloo"))
            patches.enter_context(patch.multiple(torch.version, cuda=None, hip=None))
            """,
            """
            pgregistry.init(backend="ncl")
            pgregistry.init(tensor={"backend": "ncl"})
            pgregistry.init(backend="nccl")
            pgregistry.init(backend="mpi")
            """,
        ),
        Refusal(
            "A host has no GPU for NCCL, or fewer than local ranks.",
            "Name gloo to train on CPUs. A launcher that starts more ranks than there are GPUs must start fewer.",
            """
            # hidden
            patches.close()
            patches.enter_context(patch.object(dist, "is_nccl_available", lambda: True))
            patches.enter_context(patch.object(torch.cuda, "is_available", lambda: False))
            """,
            'pgregistry.init(backend="nccl")',
            """
            # hidden
            from pgregistry.building.communicators import availability
            patches.enter_context(patch.object(torch.cuda, "is_available", lambda: True))
            patches.enter_context(patch.object(torch.accelerator, "device_count", lambda: 4))
            patches.enter_context(patch.object(availability, "accelerator", lambda: "cuda"))
            for name in availability.SHOWN_DEVICES:
                os.environ.pop(name, None)
            os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="4", MASTER_ADDR="127.0.0.1", MASTER_PORT="0")
            """,
            'pgregistry.init(backend="nccl")  # local rank 4 of a host with 4 GPUs',
            """
            # hidden
            patches.close()
            for name in environment.set_by_launchers():
                del os.environ[name]
            """,
        ),
        Refusal(
            "A mode has options that its backend does not take.",
            "On nccl they are attributes of `ProcessGroupNCCL.Options` or of its `config`. gloo takes none.",
            """
            # urgent.py
            import pgregistry

            try:
                pgregistry.init(backend="gloo", tensor={"options": {"is_high_priority_stream": True}})
            except pgregistry.ConfigError as error:
                print(error)
            """,
            "$ torchrun --nproc-per-node 1 urgent.py",
        ),
    ),
)
