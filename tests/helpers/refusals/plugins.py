"""Plugins that do not load, or whose hooks fail."""

from refusals import Refusal, Section

INSTALLATION = Section(
    "Installation",
    "",
    (
        Refusal(
            "No plugins are installed.",
            "The package was copied, or is only on `PYTHONPATH`. Entry points come from an installation.",
            """
            # hidden
            import pgregistry
            from pgregistry.registry import discovery
            from unittest.mock import patch
            nothing = patch.object(discovery, "distributions", lambda: iter(()))
            nothing.start()
            """,
            "pgregistry.plan(8)",
            """
            # hidden
            nothing.stop()
            """,
        ),
        Refusal(
            "Two distributions have a plugin of the same name.",
            "",
            """
            # hidden
            import sys
            from pathlib import Path
            from pgregistry.testing import write_distribution
            for name, version in (("pgregistry-expert", "0.1"), ("acme-experts", "2.0")):
                sys.path.append(str(write_distribution(Path(name), name, {"expert": "acme_expert"}, {}, version)))
            """,
            "pgregistry.plan(8)",
            """
            # hidden
            del sys.path[-2:]
            """,
        ),
        Refusal(
            "A plugin in `plugins=` cannot be imported, or has the name of an installed one.",
            """A plugin is called like the last word of its module. Every rank must be able to import it: put its folder
            on PYTHONPATH.""",
            """
            pgregistry.plan(8, plugins=["lab.modes"])
            pgregistry.plan(8, plugins=["lab modes"])
            pgregistry.plan(8, plugins=["lab/modes.py"])
            pgregistry.plan(8, plugins=["pgregistry_tensor"])
            """,
        ),
        Refusal(
            "The metadata of a distribution are damaged.",
            "Install it again, or switch it off by its name or the name of the folder. A damaged distribution that has "
            "nothing to do with pgregistry is passed over.",
            """
            # hidden
            points = {"ring": "pgregistry_ring"}
            site = write_distribution(Path("pgregistry-ring"), "pgregistry-ring", points, {}, "0.3")
            file = site / "pgregistry_ring-0.3.dist-info" / "entry_points.txt"
            file.write_bytes(b"[pgregistry]\\nring = pgregistry_ring\\nstray\\n")
            sys.path.append(str(site.absolute()))
            """,
            "pgregistry.plan(8)",
            """
            # hidden
            file.write_bytes(b"[pgregistry]\\nring = pgregistry_ring\\nring = pgregistry_ring\\n")
            """,
            "pgregistry.plan(8)",
            """
            # hidden
            del sys.path[-1]
            """,
        ),
    ),
)

PLUGINS = Section(
    "Plugins",
    "",
    (
        Refusal(
            "A plugin does not load, or is not a plugin.",
            "Run without it, as the error shows, and report it to its author.",
            """
            # pgregistry_broken.py
            import flash_ring
            """,
            """
            # pgregistry_unmarked.py
            def pgregistry_modes():
                yield
            """,
            """
            # pgregistry_slip.py
            from pgregistry import hookimpl


            @hookimpl
            def pgregistry_mode():
                yield
            """,
            """
            # pgregistry_more.py
            from pgregistry import hookimpl


            @hookimpl
            def pgregistry_check(plan, rank):
                yield
            """,
            """
            # pgregistry_around.py
            from pgregistry import hookimpl


            @hookimpl(wrapper=True)
            def pgregistry_modes():
                return (yield)
            """,
            """
            # pgregistry_twice.py
            from pgregistry import hookimpl


            @hookimpl(specname="pgregistry_modes")
            def tensors():
                return []


            @hookimpl(specname="pgregistry_modes")
            def pipes():
                return []
            """,
            """
            # pgregistry_open.py
            from pgregistry import hookimpl


            @hookimpl
            def pgregistry_check(*given):
                yield
            """,
            """
            # pgregistry_partial.py
            from functools import partial

            from pgregistry import Axis, Mode, hookimpl

            pgregistry_modes = hookimpl(partial(lambda name: [Mode(name, over=Axis(name))], "ring"))
            """,
            """
            # pgregistry_eager.py
            import pgregistry

            PLAN = pgregistry.plan(8)
            """,
            """
            # pgregistry_idle.py
            MODES = ()
            """,
            """
            [project.entry-points.pgregistry]
            broken = "pgregistry_broken"
            unmarked = "pgregistry_unmarked"
            slip = "pgregistry_slip"
            more = "pgregistry_more"
            around = "pgregistry_around"
            twice = "pgregistry_twice"
            open = "pgregistry_open"
            partial = "pgregistry_partial"
            eager = "pgregistry_eager"
            idle = "pgregistry_idle"
            made = "pgregistry_other:make"
            call = "pgregistry_other:make()"
            kind = "pgregistry:Mode"
            taken = "pgregistry_taken"
            wrong = "pgregistry_wrong"
            other = "pgregistry_other"
            within = "pgregistry_other"
            """,
            """
            $ pgregistry plan 8 --only broken
            $ pgregistry plan 8 --only unmarked
            $ pgregistry plan 8 --only slip
            $ pgregistry plan 8 --only more
            $ pgregistry plan 8 --only around
            $ pgregistry plan 8 --only twice
            $ pgregistry plan 8 --only open
            $ pgregistry plan 8 --only partial
            $ pgregistry plan 8 --only eager
            $ pgregistry plan 8 --only idle
            $ pgregistry plan 8 --only made
            $ pgregistry plan 8 --only call
            $ pgregistry plan 8 --only other,within
            $ pgregistry plan 8 --only kind
            """,
        ),
        Refusal(
            "A hook raises an error, or returns an invalid value.",
            "The plugin is at fault. In Python, the traceback of the plugin is the cause of the error.",
            """
            # pgregistry_wrong.py
            import os
            from itertools import repeat

            from pgregistry import Mode, hookimpl

            ANSWERS = {"mode": Mode("wrong", over=()), "name": ["wrong"], "over": [Mode("wrong", over="tensr")]}


            @hookimpl
            def pgregistry_modes():
                return ANSWERS.get(os.environ["WRONG"]) or [Mode("wrong", over=())]


            @hookimpl
            def pgregistry_check(plan):
                if os.environ["WRONG"] == "check":
                    return False
                if os.environ["WRONG"] == "ranks":
                    return "The ranks must be even."
                if os.environ["WRONG"] == "endless":
                    return repeat("The ranks must be even.")


            @hookimpl
            def pgregistry_process_group_options(mode, backend):
                return {"options": "fast"}.get(os.environ["WRONG"], {} if os.environ["WRONG"] == "both" else None)
            """,
            """
            # pgregistry_other.py
            from pgregistry import hookimpl


            def make():
                return object()


            @hookimpl
            def pgregistry_process_group_options(mode, backend):
                return {}
            """,
            """
            import os, pgregistry
            pgregistry.plan(8, only=["wrong"])
            os.environ["WRONG"] = "mode"
            pgregistry.plan(8, only=["wrong"])
            os.environ["WRONG"] = "name"
            pgregistry.plan(8, only=["wrong"])
            os.environ["WRONG"] = "over"
            pgregistry.plan(8, only=["wrong", "tensor"])
            os.environ["WRONG"] = "check"
            pgregistry.plan(8, only=["wrong"])
            os.environ["WRONG"] = "endless"
            pgregistry.plan(8, only=["wrong"])
            os.environ["WRONG"] = "options"
            pgregistry.plan(8, only=["wrong"])
            os.environ["WRONG"] = "both"
            pgregistry.plan(8, only=["wrong", "other"])
            pgregistry.plan(8, only=["within"])
            """,
        ),
        Refusal(
            "A setting has a name that is taken.",
            "The authors of the two must agree; until then, switch one off.",
            """
            # pgregistry_taken.py
            from pgregistry import Setting, hookimpl


            @hookimpl
            def pgregistry_settings():
                yield Setting("tensor", "fast")
                yield Setting("timeout", 60)
            """,
            "$ pgregistry plan 8 --only taken,tensor",
        ),
        Refusal(
            "A plugin reports why the plan cannot work.",
            "The sentence after its name is the plugin's own.",
            """
            os.environ["WRONG"] = "ranks"
            pgregistry.plan(8, only=["wrong"])
            """,
        ),
    ),
)
