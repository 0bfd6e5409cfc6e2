"""Names that are unknown, switched off or reserved."""

from refusals import Refusal, Section

NAMES = Section(
    "Names",
    "",
    (
        Refusal(
            "A name is not known.",
            """It is misspelt, its distribution is not installed on this machine, or its plugin is off; then the error
            shows which value switched it off. `pgregistry plugins` lists what is installed.""",
            """
            import pgregistry
            pgregistry.plan(8, tensr=2)
            pgregistry.plan(8, tensr=None)
            pgregistry.plan(8, nettest=4, disable=["nettest"])
            pgregistry.plan(8, dumy={"backend": "gloo"})
            pgregistry.plan(8, disable=["net"])
            pgregistry.plan(8, disable=["bundled"])
            """,
        ),
        Refusal(
            "The value of a setting has another type, or is none of its choices.",
            "A setting has the type of its default.",
            """
            # pgregistry_ring.py
            from pgregistry import Setting, hookimpl


            @hookimpl
            def pgregistry_settings():
                yield Setting("ring_backend", "safe", choices=("fast", "safe"))
                yield Setting("heads", 8)
            """,
            """
            import pgregistry
            pgregistry.plan(8, ring_backend="slow")
            pgregistry.plan(8, heads="8")
            pgregistry.plan(8, ring_backnd="fast")
            """,
        ),
        Refusal(
            "Backend options are not a mapping of names to plain values.",
            "",
            'pgregistry.plan(8, tensor={"options": {"config": []}})',
        ),
        Refusal(
            "A parameter of `init` is given to `plan`.",
            "The command line takes `--backend`, and the environment and a file may have it.",
            'pgregistry.plan(8, backend="nccl")',
        ),
        Refusal(
            "A mode needs an axis whose plugin is off.",
            "Switch off the mode too, or switch on the axis.",
            'pgregistry.plan(8, disable=["pipe"])',
        ),
        Refusal(
            "The command line asks for a mode or a rank that is not in the plan.",
            "",
            """
            $ pgregistry plan 8 --mode tensr
            $ pgregistry plan 8 --rank 8
            """,
        ),
        Refusal(
            "A list never ends.",
            "",
            """
            from itertools import repeat
            pgregistry.plan(8, order=repeat("data"))
            """,
        ),
        Refusal(
            "The name is reserved.",
            "Parameters of `plan` and `init` cannot name a size or a plugin.",
            '$ PGREGISTRY="timeout=60" pgregistry plan 8',
            """
            from pgregistry import Axis, Mode
            pgregistry.plan(8, extra=[Mode("late", over=Axis("timeout"))])
            """,
        ),
    ),
)
