"""Makes the tiny checkpoints under `fixtures/models/` and what transformers computes with them.

A reference file holds the inputs as `in.<name>` and every output as `out.<name>`, nested names joined by dots; its
metadata say which model was asked (`task`: `segmentation`, `clip`, `text` or `vision`) and by which versions.
"""

import argparse
import json
import shutil
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import MethodType

import torch
import transformers
from safetensors.torch import save_file
from transformers.utils import ModelOutput

from cases import CASES, Inputs
from recipes import CHECKPOINTS
from tiny import as_class, load_checkpoint, save_checkpoint

SIZE_LIMIT = 2_000_000  # bytes, for a checkpoint and its references together


@contextmanager
def later_positions(model):
    """Position embeddings by the rule of later releases (4.46 on), for any height and width.

    4.37.2 takes every image for a square. Written after
    `CLIPSegVisionEmbeddings.interpolate_pos_encoding` of those releases.
    """

    def forward(self, pixel_values):
        patch, width = self.patch_size, self.embed_dim
        rows, columns = pixel_values.shape[2] // patch, pixel_values.shape[3] // patch
        trained = self.image_size // patch
        table = self.position_embedding.weight
        if (rows, columns) != (trained, trained):
            grid = table[1:].reshape(1, trained, trained, width).permute(0, 3, 1, 2)
            resized = torch.nn.functional.interpolate(grid, (rows, columns), mode="bicubic", align_corners=False)
            table = torch.cat([table[:1], resized.permute(0, 2, 3, 1).reshape(-1, width)])
        patches = self.patch_embedding(pixel_values).flatten(2).transpose(1, 2)
        classes = self.class_embedding.expand(len(pixel_values), 1, -1)
        return torch.cat([classes, patches], dim=1) + table

    embeddings = model.vision_model.embeddings
    embeddings.forward = MethodType(forward, embeddings)
    try:
        yield
    finally:
        del embeddings.forward


def flatten(name, value, into):
    """Nested outputs and tuples of tensors as one flat dictionary with dotted names."""
    if isinstance(value, ModelOutput):
        for key, inner in value.items():
            flatten(f"{name}.{key}", inner, into)
    elif isinstance(value, (tuple, list)):
        for index, inner in enumerate(value):
            flatten(f"{name}.{index}", inner, into)
    elif value is not None:
        # A copy: some outputs share memory, which safetensors refuses.
        into[name] = value.detach().clone().contiguous()


def sort_metadata(path):
    """safetensors writes metadata in an order that changes from run to run; sorted, equal content is equal bytes."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode().ljust(length)
    path.write_bytes(data[:8] + text + data[8 + length :])


@torch.no_grad()
def write_reference(model, checkpoint, case, path):
    task = case.split("-")[0]
    given, options = CASES[case](Inputs(model.config, checkpoint, case))
    details = options.pop("details", False)
    asked = as_class(task, model)
    with later_positions(asked) if options.pop("later_positions", False) else nullcontext():
        outputs = asked(
            **given, **options, output_hidden_states=details, output_attentions=details, return_dict=True
        )
    tensors = {f"in.{name}": value.contiguous() for name, value in given.items()}
    flatten("out", outputs, tensors)
    if not details:
        # transformers returns the logits a second time there; once is enough where size counts.
        tensors.pop("out.decoder_output.logits", None)
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise SystemExit(f"{checkpoint}, {case}: {name} is not finite; change the weights' scale in tiny.py")
    metadata = dict(task=task, transformers=transformers.__version__, torch=torch.__version__.split("+")[0])
    save_file(tensors, path, metadata)
    sort_metadata(path)
    path.chmod(0o644)  # safetensors writes it for the owner alone
    return tensors


def make(checkpoint, root):
    directory = root / checkpoint
    references = directory / "references"
    shutil.rmtree(directory, ignore_errors=True)
    references.mkdir(parents=True)
    save_checkpoint(checkpoint, directory)
    model = load_checkpoint(checkpoint, directory)
    for case in CHECKPOINTS[checkpoint]["cases"]:
        path = references / f"{case}.safetensors"
        tensors = write_reference(model, checkpoint, case, path)
        logits = tensors.get("out.logits")
        note = "" if logits is None else f", logits {tuple(logits.shape)} deviate by {logits.std():.2f}"
        print(f"  {case}: {len(tensors)} tensors, {path.stat().st_size} bytes{note}")
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    print(f"{checkpoint}: {size} bytes")
    if size >= SIZE_LIMIT:
        raise SystemExit(f"{directory} holds {size} bytes, over {SIZE_LIMIT}: make it smaller or leave a case out of recipes.py")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where to write, usually fixtures/models")
    parser.add_argument("--only", choices=CHECKPOINTS, nargs="+", help="some checkpoints instead of all")
    arguments = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    torch.use_deterministic_algorithms(True)
    for checkpoint in arguments.only or CHECKPOINTS:
        make(checkpoint, arguments.out)


if __name__ == "__main__":
    main()
