"""The modes of the script beside the bundled ones: pieces of a sequence, shards and copies of the weights, experts."""

from collections.abc import Iterator

from pgregistry import FULL, Axis, Mode, Plan, Split, hookimpl


@hookimpl
def pgregistry_modes() -> Iterator[Mode]:
    """8 ranks, context=2 shard=2: fsdp 0 1 2 3 | 4 5 6 7, replicate 0 4 | 1 5 | 2 6 | 3 7."""
    context = Axis("context", inside=("data", "pipe"), outside="tensor")
    copies = Split("data", inner="shard", outer="replicate", size=FULL)
    experts = Split("data", inner="expert")
    yield Mode("context", over=context)
    yield Mode("tokens", over=("data", context))  # these ranks see different tokens: gradients are averaged over them
    yield Mode("fsdp", over=(copies, context))
    yield Mode("replicate", over=copies.outer)
    yield Mode("expert", over=experts)
    yield Mode("expert_copies", over=(experts.outer, context))


@hookimpl
def pgregistry_check(plan: Plan) -> Iterator[str]:
    """Refuse sizes that this script does not combine."""
    sizes = plan.sizes
    if sizes["shard"] == 1 < sizes["replicate"]:
        for other in ("tensor", "expert"):
            if sizes[other] > 1:
                yield f"ZeRO-1 (shard = 1) goes with {other} = 1, not {sizes[other]}; set shard to 2 or more."
    elif sizes["zero1"] != sizes["data"]:  # set by the user, and FSDP2 would take no notice of it
        yield f"zero1 = {sizes['zero1']} goes with shard = 1, not {sizes['shard']}; set shard = 1, or leave zero1 out."
