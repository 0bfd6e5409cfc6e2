"""Axes, splits and modes that cannot be."""

from refusals import Refusal, Section

DECLARATIONS = Section(
    "Declarations",
    """These errors are for authors. Most are raised when the object is made, so the traceback shows the line. In a hook
    the error also names the plugin.""",
    (
        Refusal(
            "An Axis or a Split is invalid.",
            """Users write the name as a keyword. A split names at least one of its parts, and splits an axis, a part or
            the world.""",
            """
            import pgregistry
            from pgregistry import FULL, HOST, REST, WORLD, Axis, Mode, Split
            Axis("my axis")
            Axis("context", size=0)
            Axis("context", inside=5)
            Split("data")
            Split("data", inner="expert", outer="expert")
            Split("data", inner="expert", size=HOST, ragged=True)
            Split((), inner="expert")
            """,
        ),
        Refusal(
            "A Setting is invalid.",
            "Its default gives its type, which its choices have too.",
            """
            from pgregistry import Setting
            Setting("ring backend", "safe")
            Setting("ring_backend", None)
            Setting("ring_backend", "safe", choices="safe")
            Setting("ring_backend", "safe", choices=("fast", "slow"))
            Setting("ring_backend", "safe", help=1)
            """,
        ),
        Refusal(
            "A Mode is invalid.",
            """It has either `over=` or `groups=`. `at=` and `where=` go only with `over=`, and `sizes=` only with
            `groups=`.""",
            """
            Mode("", over="data")
            Mode("ends")
            Mode("ends", over=5)
            Mode("ends", over="pipe", sizes="pipe")
            Mode("ends", over="pipe", at=())
            Mode("ends", groups=[[0, 1]])
            Mode("ends", groups=lambda mesh: [], at=0)
            Mode("ends", over="data", where={"pipe": "last"})
            Mode("ends", over="data", options={"speed": [1]})
            Mode("ends", over="pipe", dedicated=1)
            Mode("ends", over="pipe", timeout=0)
            """,
        ),
        Refusal(
            "A name is declared twice.",
            'One plugin declares an axis or a part. Others refer to it by name (`over="data"`).',
            """
            pgregistry.plan(8, extra=[Mode("tensor", over="data")])
            pgregistry.plan(8, extra=[Mode("mine", over=Axis("mine")), Mode("ours", over=Axis("mine", size=2))])
            """,
        ),
        Refusal(
            "Equal splits give two sizes.",
            "Splits equal in `of`, names and `ragged` are one declaration. All but one leave `size` out.",
            'pgregistry.plan(8, extra=[Mode("copies", over=Split("data", inner="zero1", size=2).outer)])',
        ),
        Refusal(
            "A mode is over an axis or part that is not declared.",
            "The name is misspelt, or its plugin is not installed.",
            'pgregistry.plan(8, extra=[Mode("ends", over="pipes")])',
        ),
        Refusal(
            "A mode is over one item twice, or over two that overlap.",
            """The parts of two splits of one axis divide it in two ways, so no group is over both. Make a chain: split
            a part of the other split.""",
            """
            pgregistry.plan(8, extra=[Mode("twice", over=("data", "data"))])
            pgregistry.plan(8, extra=[Mode("both", over=("zero1", Split("data", inner="expert")))])
            """,
        ),
        Refusal(
            "`where=` names what the mode is over, or a ragged split.",
            "A position outside of the groups is one along what `over=` does not touch.",
            """
            pgregistry.plan(8, extra=[Mode("last", over=("data", "pipe"), where={"pipe": -1})])
            pgregistry.plan(8, extra=[Mode("last", over=(), where={"nettest": 0})])
            """,
        ),
        Refusal(
            "A split is inside itself, modes come after each other, or a ragged part is split again.",
            "",
            """
            circle = (Split("right", inner="left"), Split("left", inner="right"))
            pgregistry.plan(8, extra=[Mode("circle", over=circle)])
            pgregistry.plan(8, extra=[Mode("one", over=(), after="two"), Mode("two", over=(), after="one")])
            pgregistry.plan(8, extra=[Mode("half", over=Split("nettest", inner="half"))])
            """,
        ),
        Refusal(
            "A mode is over two ragged parts,",
            "which have no closed form.",
            """
            thirds = (
                Split("pipe", inner="third", size=3, ragged=True),
                Split("tensor", inner="fifth", size=3, ragged=True),
            )
            pgregistry.plan(16, pipe=4, tensor=4, extra=[Mode("odd", over=thirds)])
            """,
        ),
    ),
)
