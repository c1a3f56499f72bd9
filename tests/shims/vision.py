"""torchvision (and timm, which imports it) next to a torch that its compiled operators were not built for.

No build of torchvision for a CPU is to be had from a package registry; its models need none of its operators, but
`import torchvision` asks for the schemas of two. Import this module first. 'make test' installs both packages, without
what they depend on, in a folder of their own, so that only tests see them.
"""

import importlib.util
import sys
from pathlib import Path

import torch

FOLDER = Path(sys.prefix) / "only-tests"

if importlib.util.find_spec("torchvision") is None and FOLDER.is_dir():
    sys.path.append(str(FOLDER))

_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
for _schema in (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
):
    if not hasattr(torch.ops.torchvision, _schema.partition("(")[0]):
        _LIBRARY.define(_schema)
