"""Plans that are read, or asked for a mode."""

from refusals import Refusal, Section

PLANS = Section(
    "Plans",
    "",
    (
        Refusal(
            "The plan has no such mode.",
            "It is misspelt, or its plugin is off.",
            """
            import pgregistry
            from pgregistry import Plan
            plan = pgregistry.plan(2, only=["data"])
            plan["date"]
            plan[3]
            plan["tensor"]
            """,
        ),
        Refusal(
            "A plan is not the one that is expected.",
            "A size, a setting or a plugin is not what it was when the expected plan was written.",
            """
            # hidden
            import pathlib
            _ = pathlib.Path("plan.json").write_text(pgregistry.plan(4, only=["data", "tensor"], tensor=2).to_json())
            _ = pathlib.Path("noplan.json").write_text("{}")
            _ = pathlib.Path("binary.json").write_bytes(bytes([255]))
            """,
            "$ pgregistry plan 4 --only data,tensor --expect plan.json",
            "$ pgregistry plan 4 --only data,tensor --expect 00000000000000000000000000000000",
            "$ pgregistry plan 4 --expect gone.json",
            "$ pgregistry plan 4 --expect noplan.json",
            "$ pgregistry plan 4 --expect binary.json",
        ),
        Refusal(
            "A plan is compared with something else.",
            "`Plan.from_json` makes a plan of its JSON, and `pgregistry diff` compares files.",
            'plan.diff("plan.json")',
        ),
        Refusal(
            "A text is not one that `to_json` wrote, or was changed.",
            "Make a plan of another version again, from the same settings.",
            """
            text = plan.to_json()
            Plan.from_json("[]")
            Plan.from_json(text.replace('"schema": 1', '"schema": 7'))
            Plan.from_json(text.replace("[[0, 1]]", "[[0], [1]]"))
            Plan.from_json('{"schema": 1, "world_size": 2, "modes": []}')
            """,
        ),
    ),
)
