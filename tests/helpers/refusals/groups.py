"""Groups that a function lists."""

from refusals import Refusal, Section

GROUPS = Section(
    "Groups that a function lists",
    "",
    (
        Refusal(
            "A `groups=` function returns groups that cannot be, or raises an error.",
            "Every group is checked.",
            """
            import pgregistry
            from pgregistry import Axis, Mode, Split
            def refused(groups):
                pgregistry.plan(4, extra=[Mode("mine", groups=groups)])
            refused(lambda mesh: [[0, 4]])
            refused(lambda mesh: [[1, 1]])
            refused(lambda mesh: [[0, 1], [1, 2]])
            refused(lambda mesh: [[]])
            refused(lambda mesh: [["0"]])
            refused(lambda mesh: 1 // 0)
            """,
        ),
        Refusal(
            "A `groups=` function asks the mesh for something that is not there.",
            "Ranks count from 0. Axes and parts must be declared by some mode, and be independent of each other.",
            """
            refused(lambda mesh: mesh.coordinate("tensor", 4))
            refused(lambda mesh: mesh.coordinate("tensr", 0))
            refused(lambda mesh: mesh.groups("tensr"))
            refused(lambda mesh: mesh.groups(Axis("tensor", size=4)))
            refused(lambda mesh: mesh.groups(("data", "zero1")))
            """,
        ),
    ),
)
