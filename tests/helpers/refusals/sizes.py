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
            "The number of ranks per host, or of hosts per domain, is not known,",
            "and a split at `HOST` or `DOMAIN` needs it. Launchers set the first; without a launcher, pass it.",
            """
            from pgregistry import DOMAIN
            shard = Mode("shard", over=Split("data", inner="shard", outer="replicate", size=HOST))
            pgregistry.plan(8, extra=[shard])
            rack = Mode("rack", over=Split(WORLD, inner="rack", size=DOMAIN))
            pgregistry.plan(8, ranks_per_host=4, extra=[rack])
            leaders = Mode("leaders", groups=lambda mesh: [[host[0] for host in mesh.hosts]])
            pgregistry.plan(8, extra=[leaders])
            pgregistry.plan(8, hosts="0-2;3-7", extra=[Mode("m", groups=lambda mesh: [range(mesh.ranks_per_host)])])
            """,
        ),
        Refusal(
            "Hosts would hold unequal shares of a split at `HOST`.",
            """The inner part is what lies inside one host, and all inner groups have one size. Choose other sizes of
            the axes, or a number for either part: its groups may cross hosts then.""",
            "pgregistry.plan(12, tensor=2, ranks_per_host=3, extra=[shard])",
        ),
        Refusal(
            "Ranks of a host are not neighbours, or hosts have unequal numbers of them.",
            "A split at `HOST` needs equal hosts, one after another. `within=` can bring the ranks of a host together.",
            """
            pgregistry.plan(4, hosts="0,2;1,3", extra=[shard])
            pgregistry.plan(8, ranks_per_host=4, within=[0, 1, 2, 4], extra=[shard])
            """,
        ),
        Refusal(
            "`hosts` leaves ranks out, has some twice, or contradicts `ranks_per_host`.",
            "It must be the ranks of each host: lists, text, JSON, or the path of a JSON file.",
            """
            pgregistry.plan(8, hosts=[[0, 1, 2, 3], [4, 5, 6]])
            pgregistry.plan(8, hosts="0-4;4-7")
            pgregistry.plan(8, hosts="hosts.json")
            pgregistry.plan(8, hosts="[[0, 1, 2")
            pgregistry.plan(8, hosts="0-3;4-7", ranks_per_host=2)
            """,
        ),
        Refusal(
            "An axis takes its size from a part at `HOST`,",
            "which is known only when axes are nested.",
            """
            context = Mode("context", over=Axis("context", size="shard", inside="data"))
            pgregistry.plan(8, ranks_per_host=4, extra=[shard, context])
            """,
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
