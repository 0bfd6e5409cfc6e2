"""Settings that cannot be read, or that have an invalid value."""

from refusals import Refusal, Section

SETTINGS = Section(
    "Settings",
    "",
    (
        Refusal(
            "A word has no value, or a name is given twice.",
            "",
            """
            $ PGREGISTRY="tensor" pgregistry plan 8
            $ PGREGISTRY="tensor=2 tensor=4" pgregistry plan 8
            $ PGREGISTRY="tensor=2 tensor.size=4" pgregistry plan 8
            """,
        ),
        Refusal(
            "A mode has no such setting, or the value is invalid.",
            "A table may hold `size`, `backend`, `timeout`, `cpu`, `dedicated` and `options`.",
            """
            import pgregistry
            from pgregistry import Mode
            pgregistry.plan(8, tensor={"colour": "red"})
            pgregistry.plan(8, tensor={"dedicated": "yes"})
            pgregistry.plan(8, tensor={"timeout": -1})
            pgregistry.plan(8, tensor={"backend": ""})
            """,
        ),
        Refusal(
            "A list of names is expected.",
            "",
            "pgregistry.plan(8, disable=5)",
        ),
        Refusal(
            "A list of modes is expected.",
            "",
            """
            pgregistry.plan(8, extra=5)
            pgregistry.plan(8, extra=["tensor"])
            pgregistry.plan(8, extra=(Mode(name) for name in "ab"))
            """,
        ),
        Refusal(
            "`plan_modes` has no modes, or is to keep one that is not there.",
            "",
            """
            from pgregistry import WORLD, Split, plan_modes
            plan_modes(8, [])
            plan_modes(8, [Mode("pair", over=Split(WORLD, inner="pair"))], keep="pairs")
            """,
        ),
        Refusal(
            "The file does not exist, is not text, or is not TOML.",
            "Its path is taken as it is, from the working directory of each rank.",
            """
            # bad.toml
            tensor =
            """,
            """
            pgregistry.plan(8, config="nowhere.toml")
            pgregistry.plan(8, config="bad.toml")
            pgregistry.plan(8, config=5)
            with open("latin.toml", "wb") as file:
                _ = file.write(b"# caf\\xe9")
            pgregistry.plan(8, config="latin.toml")
            """,
        ),
        Refusal(
            "A `pyproject.toml` has no table for pgregistry.",
            "Of a file of that name only `[tool.pgregistry]` is read.",
            """
            # pyproject.toml
            [tool.other]
            """,
            'pgregistry.plan(8, config="pyproject.toml")',
        ),
        Refusal(
            "An environment variable is misspelt or has an invalid value.",
            "",
            """
            $ PGREGISTRY_DISABEL=nettest pgregistry plan 8
            $ PGREGISTRY_TRACE=yes pgregistry plan 8
            $ PGREGISTRY_BUILD=pubic pgregistry plan 8
            $ WORLD_SIZE=eight pgregistry plan
            """,
        ),
        Refusal(
            "A required distribution is missing, has another version, or its requirement cannot be parsed.",
            "Install it on the machine that the error came from: every machine has its own installation.",
            """
            pgregistry.plan(8, require=["pgregistry-expert>=1"])
            pgregistry.plan(8, require=["pgregistry>=9"])
            pgregistry.plan(8, require=["pgregistry>"])
            """,
        ),
    ),
)
