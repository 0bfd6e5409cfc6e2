"""Axes that have no order, or a wrong one."""

from refusals import Refusal, Section

NESTING = Section(
    "Order",
    "",
    (
        Refusal(
            "Two axes are larger than 1, and their nesting is not declared.",
            "The alphabet never decides. Pass `order=`, or ask the author for `inside=`.",
            """
            import pgregistry
            from pgregistry import Axis, Mode
            context = Mode("context", over=Axis("context", inside="data", outside="tensor"))
            pgregistry.plan(8, context=2, pipe=2, extra=[context])
            """,
        ),
        Refusal(
            "`order` leaves out an axis, names something else, or names one twice.",
            """It must name every axis larger than 1, outermost first. It cannot name parts of splits, which lie where
            their axis does.""",
            """
            pgregistry.plan(8, tensor=2, pipe=2, order=["pipe", "data"])
            pgregistry.plan(8, tensor=2, order=["data", "tenser"])
            pgregistry.plan(8, tensor=2, order=["data", "zero1", "tensor"])
            pgregistry.plan(8, tensor=2, order=["data", "tensor", "data"])
            """,
        ),
        Refusal(
            "Axes lie inside each other.",
            "Two declarations contradict each other. Disable one of the plugins.",
            """
            circle = Mode("circle", over=(Axis("left", inside="right"), Axis("right", inside="left")))
            pgregistry.plan(8, extra=[circle])
            """,
        ),
    ),
)
