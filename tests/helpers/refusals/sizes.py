"""Sizes that do not fit."""

from refusals import Refusal, Section

SIZES = Section(
    "Sizes",
    "",
    (
        Refusal(
            "The axes do not divide the world.",
            "One axis takes what the others leave, which must be a whole number. Take a size from the list.",
            """
            import pgregistry
            from pgregistry import FULL, HOST, REST, WORLD, Axis, Mode, Split
            pgregistry.plan(8, tensor=3)
            """,
        ),
        Refusal(
            "The axes do not multiply to the world.",
            "All sizes are given. Leave out the size of the axis that takes what is left, here `data`.",
            "pgregistry.plan(8, data=2, tensor=2)",
        ),
        Refusal(
            "No axis takes what is left.",
            "This is allowed, but the sizes of the axes must still divide the world.",
            'pgregistry.plan(8, tensor=3, only=["tensor"])',
        ),
        Refusal(
            "Several sizes are wrong.",
            "No single size can be changed to make the others fit.",
            "pgregistry.plan(8, tensor=3, pipe=3)",
        ),
        Refusal(
            "A split does not divide what it splits.",
            "Take a size from the list, or change the size of the axis.",
            """
            pgregistry.plan(8, zero1=3)
            both = Mode("expert", over=Split("data", inner="expert", outer="replica"))
            pgregistry.plan(8, replica=3, extra=[both])
            """,
        ),
        Refusal(
            "Both parts of a split are given and do not multiply to the whole.",
            "Leave one of them out.",
            "pgregistry.plan(8, expert=2, replica=2, extra=[both])",
        ),
        Refusal(
            "A split divides the number of ranks, but none of the axes.",
            """Data is 4 and tensor is 3, and pipe lies between them. A cut into 2 would run through the middle of the
            tensor axis. Take a size from the list.""",
            """
            block = Mode("block", over=Split(("data", "tensor"), inner="block"))
            pgregistry.plan(24, pipe=2, tensor=3, block=2, extra=[block])
            """,
        ),
        Refusal(
            "The number of ranks per host is not known,",
            "and a mode needs it. Launchers set it; without a launcher, pass it.",
            'pgregistry.plan(8, extra=[Mode("host", over=Split(WORLD, inner="host", size=HOST))])',
        ),
        Refusal(
            "Two axes take what is left.",
            "Set the size of all but one, or let the author of one choose another default.",
            'pgregistry.plan(8, extra=[Mode("copies", over=Axis("copies", size=REST, inside="data"))])',
        ),
        Refusal(
            "Two sizes default to each other, and neither is given.",
            "Set one of them.",
            """
            circle = Mode("circle", over=(Axis("left", size="right"), Axis("right", size="left")))
            pgregistry.plan(8, extra=[circle])
            """,
        ),
        Refusal(
            "A value is not a size, a world size or a list of ranks.",
            "Sizes are whole numbers. Ranks count from 0, and each may be given once.",
            """
            pgregistry.plan(8, tensor=0)
            pgregistry.plan(0)
            pgregistry.plan(8, within=[0, 8])
            """,
        ),
    ),
)
