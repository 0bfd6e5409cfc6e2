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
            plan["tensor"]
            """,
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
