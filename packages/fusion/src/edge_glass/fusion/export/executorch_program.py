"""Programs of ExecuTorch: from a torch module to a file that XNNPACK runs on a CPU.

What is unusual: a program takes one image or one text at a time. Its buffers are planned for the
largest inputs, so each axis that grows has a limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edge_glass.fusion.export.onnx_graph import LONGEST_CAUSE, Dynamic, quiet

with quiet():  # torchao reports kernels for other devices
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

LEAST = 2  # torch.export fixes an axis that may have a size of 1
aten = torch.ops.aten


def write_program(
    module: nn.Module,
    inputs: Mapping[str, Tensor | list[Tensor]],
    outputs: Sequence[str],
    dynamic: Dynamic,
    path: Path,
    *,
    limits: Mapping[str, int],
) -> None:
    """Writes the program of a module; the arguments are those of `write_graph`.

    `limits` has the largest size of each dynamic axis but the batch, which becomes 1.

    Raises:
        ValueError: if the module does what a program can't express.
    """
    for weight in module.parameters():  # XNNPACK refuses weights in channels-last order
        weight.data = weight.data.contiguous()
    sizes = {name: torch.export.Dim(name, min=LEAST, max=most) for name, most in limits.items()}
    examples: list[Any] = []
    shapes: list[Any] = []
    names: list[str] = []
    for name, value in inputs.items():
        axes = {axis: sizes[of] for axis, of in dynamic.get(name, {}).items() if of != "batch"}
        if isinstance(value, Tensor):
            examples.append(value[:1])
            shapes.append(axes)
            names.append(name)
        else:
            examples.append([each[:1] for each in value])
            shapes.append([axes for _ in value])
            names += [f"{name}{number}" for number in range(len(value))]
    places = {"inputs": names, "outputs": list(outputs)}
    try:
        with torch.no_grad(), quiet():
            program = torch.export.export(module, tuple(examples), dynamic_shapes=tuple(shapes))
            real = without_complex(program)
            program = torch.export.export(real, tuple(examples), dynamic_shapes=tuple(shapes))
            lowered = to_edge_transform_and_lower(
                program, partitioner=[XnnpackPartitioner()], constant_methods=places
            )
            content = lowered.to_executorch().buffer
    except Exception as error:  # torch's and ExecuTorch's errors have no common class
        found = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_CAUSE]
        raise ValueError(
            f"ExecuTorch can't express {path.stem} ({found}): train with different components, or "
            "set EDGE_GLASS_TRACEBACK=1 to see where"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".pte").write_bytes(content)


def without_complex(program: torch.export.ExportedProgram) -> nn.Module:
    """Returns a program's module with complex products, such as rotary positions, as real ones.

    ExecuTorch has no complex numbers. (a + bi)(c + di) = (ac - bd) + (ad + bc)i, with the two parts
    on the last axis, as `view_as_real` has them.
    """
    module = program.module()
    graph = module.graph
    for node in list(graph.nodes):
        value = node.meta.get("val")
        if node.target in (aten.view_as_complex.default, aten.view_as_real.default):
            node.replace_all_uses_with(node.args[0])
        elif isinstance(value, Tensor) and value.is_complex():
            if node.target is not aten.mul.Tensor:
                raise ValueError(f"{node.target} of complex numbers")
            with graph.inserting_before(node):

                def call(operator: Any, *arguments: Any) -> Any:
                    return graph.call_function(operator, arguments)

                (a, b), (c, d) = (
                    [call(aten.select.int, each, -1, part) for part in (0, 1)] for each in node.args
                )
                product = aten.mul.Tensor
                real = call(aten.sub.Tensor, call(product, a, c), call(product, b, d))
                imaginary = call(aten.add.Tensor, call(product, a, d), call(product, b, c))
                both = call(aten.stack.default, [real, imaginary], -1)
            node.replace_all_uses_with(both)
    graph.eliminate_dead_code()
    module.recompile()
    return module
