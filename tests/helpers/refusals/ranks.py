"""Ranks that disagree, fail, or do not arrive."""

from refusals import Refusal, Section

DISAGREEMENT = Section(
    "Ranks that disagree",
    """Every rank raises `PlanMismatch`, and nothing was created. The error names the ranks on each side and the first
    thing that differs. [reliability.md](reliability.md) lists what can differ.""",
    (
        Refusal(
            "One rank has another size, plugin, order, group or variable.",
            "Compare how that rank was started; the error shows where its value came from.",
            """
            # odd.py
            import os
            import pgregistry

            try:
                os.environ["PGREGISTRY_DISABLE"] = "nettest" if os.environ["RANK"] == "1" else ""
                pgregistry.init(backend="gloo")
            except pgregistry.PlanMismatch as error:
                print(f"{error}\\n" if os.environ["RANK"] == "0" else "", end="")
            """,
            "$ torchrun --nproc-per-node 4 odd.py",
        ),
        Refusal(
            "The plan of one rank was refused.",
            "That rank raises its own error, and all others quote it.",
            """
            # failed.py
            import os
            import pgregistry

            try:
                pgregistry.init(backend="gloo", tensor=3 if os.environ["RANK"] == "1" else 2)
            except pgregistry.PlanMismatch as error:
                print(error)
            except pgregistry.ConfigError:
                pass  # on rank 1, its own error
            """,
            "$ torchrun --nproc-per-node 2 failed.py",
        ),
        Refusal(
            "One rank cannot read which ranks plan.",
            """That rank raises its own error. The others wait with a list that it does not know, and quote it all the
            same.""",
            """
            # unread.py
            import os
            import pgregistry

            try:
                pgregistry.init(backend="gloo", within="0-x" if os.environ["RANK"] == "2" else "0,1")
            except pgregistry.PlanMismatch as error:
                print(f"{error}\\n" if os.environ["RANK"] == "0" else "", end="")
            except pgregistry.ConfigError:
                pass  # on rank 2, its own error
            """,
            "$ torchrun --nproc-per-node 3 unread.py",
        ),
        Refusal(
            "A rank did not arrive.",
            "It died before, waits for something else, or is slow. If it arrives later, it raises the same error.",
            """
            # late.py
            import os
            import pgregistry

            try:
                if os.environ["RANK"] == "0":
                    pgregistry.init(backend="gloo", agree_timeout=1)
            except pgregistry.PlanMismatch as error:
                print(error)
            """,
            "$ torchrun --nproc-per-node 2 late.py",
        ),
        Refusal(
            "Two processes have one rank.",
            "The launcher was started twice, or its variables were changed.",
            """
            # twice.py
            import os
            import pgregistry

            try:
                os.environ["RANK"] = "01"[os.environ["RANK"] != "0"]
                pgregistry.init(backend="gloo")
            except pgregistry.PlanMismatch as error:
                print(f"{error}\\n" if os.environ["RANK"] == "0" else "", end="")
            """,
            "$ torchrun --nproc-per-node 3 twice.py",
        ),
        Refusal(
            "A rank of another job came.",
            "Two jobs on one host have the same `MASTER_PORT`. The job whose store it is goes on.",
            """
            # jobs.py
            import os
            import pgregistry

            try:
                os.environ["TORCHELASTIC_RUN_ID"] = "first second".split()[int(os.environ["RANK"])]
                pgregistry.init(backend="gloo", agree_timeout=2)
            except pgregistry.PlanMismatch as error:
                print(f"{error}\\n" if os.environ["RANK"] == "1" else "", end="")
            """,
            "$ torchrun --nproc-per-node 2 jobs.py",
        ),
        Refusal(
            "Ranks of one host are not neighbours, and a mode needs hosts.",
            """The launcher dealt ranks out to hosts in turn, as `srun -m cyclic` and `mpirun --map-by node` do, or
            hosts have different numbers of ranks. Modes that need no host are not concerned.""",
            """
            # dealt.py
            import os
            import pgregistry
            from pgregistry import HOST, WORLD, Mode, Split

            rank = int(os.environ["RANK"])
            os.environ.update(LOCAL_WORLD_SIZE="2", LOCAL_RANK=str(rank // 2), GROUP_RANK=str(rank % 2))
            mode = Mode("near", over=Split(WORLD, inner="near", size=HOST))
            try:
                pgregistry.init(backend="gloo", extra=[mode])
            except pgregistry.PlanMismatch as error:
                print(str(error).replace(os.uname().nodename, "host0") + "\\n" if rank == 0 else "", end="")
            """,
            "$ torchrun --nproc-per-node 4 dealt.py",
        ),
        Refusal(
            "Hosts of one domain are not neighbours, and a mode needs domains.",
            """Slurm says in which domain each host is. Ranks of two would be in one domain of the plan. Modes that do
            not use `DOMAIN` are not concerned.""",
            """
            # racks.py
            import os
            import pgregistry
            from pgregistry import DOMAIN, WORLD, Mode, Split

            rank = int(os.environ["RANK"])
            os.environ.update(LOCAL_WORLD_SIZE="1", LOCAL_RANK="0", GROUP_RANK=str(rank))
            where = f"switch{rank % 2}.{os.uname().nodename}"
            os.environ.update(SLURM_TOPOLOGY_ADDR=where, SLURM_TOPOLOGY_ADDR_PATTERN="switch.node")
            mode = Mode("rack", over=Split(WORLD, inner="rack", size=DOMAIN))
            try:
                pgregistry.init(backend="gloo", extra=[mode], hosts_per_domain=2)
            except pgregistry.PlanMismatch as error:
                print(f"{error}\\n" if rank == 0 else "", end="")
            """,
            "$ torchrun --nproc-per-node 4 racks.py",
        ),
        Refusal(
            "The store is not there.",
            """Rank 0, which hosts it, did not start. Look at its log. If the address is wrong, correct `MASTER_ADDR`
            and `MASTER_PORT`.""",
            """
            # alone.py
            import os
            import pgregistry

            try:
                os.environ.update(RANK="1", WORLD_SIZE="2")
                pgregistry.init(backend="gloo", agree_timeout=1)
            except pgregistry.PlanMismatch as error:
                print(error)
            """,
            "$ torchrun --nproc-per-node 1 alone.py",
        ),
        Refusal(
            "Rank 0 cannot open the store.",
            "Another process has the port. Choose another `MASTER_PORT`, on all ranks.",
            """
            # taken.py
            import os
            import socket
            import pgregistry

            with socket.create_server(("127.0.0.1", int(os.environ["MASTER_PORT"]))):
                try:
                    os.environ["WORLD_SIZE"] = "2"
                    pgregistry.init(backend="gloo", agree_timeout=1)
                except pgregistry.PlanMismatch as error:
                    print(error)
            """,
            "$ torchrun --nproc-per-node 1 taken.py",
        ),
    ),
)
