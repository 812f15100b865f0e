"""Makes the tiny checkpoints under `fixtures/models/` and what transformers computes with them.

A reference file holds the inputs as `in.<name>` and every output as `out.<name>`, nested names joined by dots; its
metadata say which model was asked (`task`: `segmentation`, `clip`, `text` or `vision`) and by which versions.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import CLIPSegTextModel, CLIPSegVisionModel
from transformers.utils import ModelOutput

from tiny import CHECKPOINTS, generator, load_checkpoint, save_checkpoint

SIZE_LIMIT = 2_000_000  # bytes, for a checkpoint and its references together


class Inputs:
    """Random inputs for one case of one checkpoint."""

    def __init__(self, config, checkpoint, case):
        self.config = config
        self.random = generator(checkpoint, case)

    def pixels(self, batch, size=None):
        """Normalised pixels: a smooth part (as photos have) and a rough one."""
        size = size or self.config.vision_config.image_size
        coarse = torch.randn(batch, 3, 4, 4, generator=self.random)
        smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
        return smooth + 0.4 * torch.randn(batch, 3, size, size, generator=self.random)

    def prompts(self, lengths, side="right"):
        """`input_ids` and `attention_mask` of prompts with so many tokens each, start and end included."""
        text = self.config.text_config
        # With the old rule the end token is the largest id; otherwise the config names it, and larger ids may follow.
        largest = text.vocab_size - 1
        end = largest if text.eos_token_id == 2 else text.eos_token_id
        total = max(lengths) + 1  # at least one padding token in every row
        input_ids = torch.full((len(lengths), total), text.pad_token_id)
        attention_mask = torch.zeros(len(lengths), total, dtype=torch.int64)
        for row, length in enumerate(lengths):
            body = torch.randint(3, largest, (length - 2,), generator=self.random)
            body[body == end] = 3  # an end token inside the prompt would be another test
            tokens = torch.cat([torch.tensor([text.bos_token_id]), body, torch.tensor([end])])
            place = slice(0, length) if side == "right" else slice(total - length, total)
            input_ids[row, place] = tokens
            attention_mask[row, place] = 1
        return dict(input_ids=input_ids, attention_mask=attention_mask)

    def embeddings(self, batch):
        return torch.randn(batch, self.config.projection_dim, generator=self.random)


def segmentation_prompts(inputs):
    """The main use: text prompts with right padding, everything the model can tell."""
    return dict(pixel_values=inputs.pixels(2), **inputs.prompts([7, 4])), dict(details=True)


def segmentation_unmasked(inputs):
    """Prompts without an attention mask; one image, so transformers' `squeeze` drops the batch from the logits."""
    return dict(pixel_values=inputs.pixels(1), input_ids=inputs.prompts([5])["input_ids"]), {}


def segmentation_image(inputs):
    return dict(pixel_values=inputs.pixels(2), conditional_pixel_values=inputs.pixels(2)), {}


def segmentation_embeddings(inputs):
    return dict(pixel_values=inputs.pixels(2), conditional_embeddings=inputs.embeddings(2)), {}


def segmentation_labels(inputs):
    """`labels` are targets between 0 and 1 for every logit; they add the loss."""
    vision = inputs.config.vision_config
    grid = vision.image_size // vision.patch_size
    scale = (vision.patch_size // 4) ** 2 if inputs.config.use_complex_transposed_convolution else vision.patch_size
    labels = (torch.rand(2, grid * scale, grid * scale, generator=inputs.random) > 0.6).float()
    given = dict(pixel_values=inputs.pixels(2), conditional_embeddings=inputs.embeddings(2), labels=labels)
    return given, {}


def segmentation_resized(inputs):
    """A larger picture than the position embedding was trained for: positions are resized bicubically."""
    vision = inputs.config.vision_config
    size = vision.image_size + 2 * vision.patch_size
    return dict(pixel_values=inputs.pixels(2, size), **inputs.prompts([6, 3])), {}


def clip(inputs):
    return dict(pixel_values=inputs.pixels(2), **inputs.prompts([6, 4])), dict(details=True, return_loss=True)


def text(inputs):
    return inputs.prompts([9, 3, 6]), dict(details=True)


def text_unmasked(inputs):
    return dict(input_ids=inputs.prompts([4, 8, 5])["input_ids"]), dict(details=True)


def text_left_padding(inputs):
    """Left padding with positions that count from the start token, as batched generation writes them."""
    given = inputs.prompts([5, 8, 3], side="left")
    given["position_ids"] = (given["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    return given, dict(details=True)


def vision(inputs):
    return dict(pixel_values=inputs.pixels(2)), dict(details=True)


# File name (its first word is the task) → inputs and options.
CASES = {
    "segmentation": segmentation_prompts,
    "segmentation-unmasked": segmentation_unmasked,
    "segmentation-image": segmentation_image,
    "segmentation-embeddings": segmentation_embeddings,
    "segmentation-labels": segmentation_labels,
    "segmentation-resized": segmentation_resized,
    "clip": clip,
    "text": text,
    "text-unmasked": text_unmasked,
    "text-left-padding": text_left_padding,
    "vision": vision,
}

# Cases that would push a checkpoint over the size limit, each of them covered by the other checkpoints.
LEFT_OUT = {
    "tiny-simple": ["segmentation-image", "segmentation-labels"],
    "tiny-deep": [
        "segmentation-unmasked",
        "segmentation-image",
        "segmentation-embeddings",
        "segmentation-labels",
        "segmentation-resized",
    ],
}


def model_for(task, model):
    """The same weights behind the interface that the task names."""
    if task == "segmentation":
        return model
    if task == "clip":
        return model.clip
    if task == "text":
        text_model = CLIPSegTextModel(model.config.text_config).eval()
        text_model.text_model = model.clip.text_model
        return text_model
    vision_model = CLIPSegVisionModel(model.config.vision_config).eval()
    vision_model.vision_model = model.clip.vision_model
    return vision_model


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
    outputs = model_for(task, model)(
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
    model = load_checkpoint(directory)
    for case in CASES:
        if case in LEFT_OUT.get(checkpoint, []):
            continue
        path = references / f"{case}.safetensors"
        tensors = write_reference(model, checkpoint, case, path)
        logits = tensors.get("out.logits")
        note = "" if logits is None else f", logits {tuple(logits.shape)} deviate by {logits.std():.2f}"
        print(f"  {case}: {len(tensors)} tensors, {path.stat().st_size} bytes{note}")
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    print(f"{checkpoint}: {size} bytes")
    if size >= SIZE_LIMIT:
        raise SystemExit(f"{directory} holds {size} bytes, over {SIZE_LIMIT}: make it smaller or leave a case out")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="where to write, usually fixtures/models")
    parser.add_argument("--only", choices=CHECKPOINTS, help="one checkpoint instead of all")
    arguments = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    torch.use_deterministic_algorithms(True)
    for checkpoint in [arguments.only] if arguments.only else CHECKPOINTS:
        make(checkpoint, arguments.out)


if __name__ == "__main__":
    main()
