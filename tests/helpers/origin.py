"""The origin's groups (InternLM), typed from its loops; shares no code with pgregistry.

W is the world size; D, P, T, Z and N are the sizes of data, pipe, tensor, zero1 and nettest.
"""

from __future__ import annotations

EIGHT = ("data", "dummy", "global", "model", "nettest", "pipe", "tensor", "zero1")


def groups(world: int, tensor: int, pipe: int, zero1: int, nettest: int) -> dict[str, list[list[int]]]:
    """All eight modes, each a list of groups in the order of the origin's loops."""
    data = world // (tensor * pipe)
    step = world // data
    result: dict[str, list[list[int]]] = {"global": [list(range(world))]}

    result["data"] = []
    for i in range(step):
        result["data"].append([i + j * step for j in range(data)])

    result["pipe"] = []
    for i in range(data):
        for j in range(world // (data * pipe)):
            result["pipe"].append(list(range(i * step + j, (i + 1) * step, world // (data * pipe))))

    result["tensor"] = []
    for i in range(world // tensor):
        result["tensor"].append([i * tensor + j for j in range(tensor)])

    result["model"] = []
    for i in range(data):
        result["model"].append([i * pipe * tensor + j for j in range(pipe * tensor)])

    result["zero1"] = []
    for i in range(step):
        for j in range(data // zero1):
            result["zero1"].append([i + (j * zero1 + k) * step for k in range(zero1)])

    result["nettest"] = []
    for i in range((world + nettest - 1) // nettest):
        result["nettest"].append([i * nettest + j for j in range(nettest) if i * nettest + j < world])

    result["dummy"] = [[i] for i in range(world)]
    return result


def divisors(number: int) -> list[int]:
    """Every number that divides."""
    return [n for n in range(1, number + 1) if number % n == 0]


def valid_sizes(world: int) -> list[tuple[int, int, int]]:
    """Every (tensor, pipe, zero1) that a world can have."""
    return [
        (tensor, pipe, zero1)
        for tensor in divisors(world)
        for pipe in divisors(world // tensor)
        for zero1 in divisors(world // (tensor * pipe))
    ]
