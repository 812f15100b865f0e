"""What transformers computes with the full-size made-up checkpoint on a real photo: `fixtures/full/`.

The photo goes through transformers' own processor and tokenizer. Logits are stored as 16-bit grey PNGs, one per prompt,
linearly quantised to `LEVELS` steps; `reference.json` says how to undo that and what made them.
"""

import argparse
import json
from pathlib import Path

import numpy
import PIL
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

import synth

PRESET = "clipseg-rd64-refined"
SEED = 0
PHOTO = "fixtures/photos/chelsea.png"
PROMPTS = ["a cat", "a remote", "fur", "the background"]
# 13 bits: half a step is at most 1.3e-4 of the largest logit, and the PNGs stay small.
LEVELS = 1 << 13
CHECKED = ["clip.vision_model.pre_layrnorm.bias", "decoder.film_mul.weight", "decoder.transposed_convolution.2.weight"]


def quantise(logits):
    """Levels as uint16, and the minimum and step with which logit = minimum + step · level."""
    minimum, maximum = float(logits.min()), float(logits.max())
    step = (maximum - minimum) / (LEVELS - 1)
    levels = numpy.round((logits.astype(numpy.float64) - minimum) / step).astype(numpy.uint16)
    error = numpy.abs(minimum + step * levels - logits).max() / numpy.abs(logits).max()
    if error > 2e-4:
        raise SystemExit(f"quantising loses {error:.1e} of the largest logit, more than 2e-4; raise LEVELS")
    return levels, minimum, step


def run(checkpoint, photo):
    """The processor's tensors and the logits, every prompt on the one photo."""
    model = CLIPSegForImageSegmentation.from_pretrained(checkpoint).eval()
    processor = CLIPSegProcessor.from_pretrained(checkpoint)
    image = Image.open(photo)
    given = processor(text=PROMPTS, images=[image] * len(PROMPTS), padding=True, return_tensors="pt")
    with torch.no_grad():
        return model, given, model(**given).logits


def write(out, model, given, logits):
    out.mkdir(parents=True, exist_ok=True)
    weights = model.state_dict()
    prompts = []
    for index, prompt in enumerate(PROMPTS):
        levels, minimum, step = quantise(logits[index].numpy())
        file = f"{prompt.replace(' ', '-')}.png"
        Image.fromarray(levels).save(out / file, optimize=True)
        print(f"{out / file}: {(out / file).stat().st_size} bytes")
        length = int(given.attention_mask[index].sum())
        prompts.append(
            dict(
                prompt=prompt,
                input_ids=given.input_ids[index, :length].tolist(),
                logits=file,
                minimum=minimum,
                step=step,
            )
        )
    reference = dict(
        preset=PRESET,
        seed=SEED,
        photo=PHOTO,
        shape=list(logits.shape[1:]),
        prompts=prompts,
        checksums={name: synth.checksum(weights[name].numpy().ravel()) for name in CHECKED},
        versions=dict(
            transformers=transformers.__version__,
            torch=torch.__version__.split("+")[0],
            numpy=numpy.__version__,
            pillow=PIL.__version__,
        ),
    )
    (out / "reference.json").write_text(json.dumps(reference, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=synth.ROOT / "fixtures/full")
    parser.add_argument("--checkpoint", type=Path, default=synth.ROOT / "target/full", help="made when it is missing")
    parser.add_argument("--dump", type=Path, help="also write pixel_values and the exact logits to this file")
    arguments = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    if not (arguments.checkpoint / "model.safetensors").exists():
        print(f"making the checkpoint {arguments.checkpoint} (600 MB)")
        synth.write_checkpoint(PRESET, SEED, arguments.checkpoint)
    model, given, logits = run(arguments.checkpoint, synth.ROOT / PHOTO)
    for name in CHECKED:
        weight = model.state_dict()[name]
        made = synth.make_tensor(SEED, name, list(weight.shape))
        if not numpy.array_equal(weight.numpy().ravel(), made):
            raise SystemExit(f"{arguments.checkpoint} is not of seed {SEED}: {name} differs; remove it to have it made")
    write(arguments.out, model, given, logits)
    if arguments.dump:
        tensors = dict(pixel_values=given.pixel_values[:1].contiguous(), input_ids=given.input_ids, logits=logits)
        save_file(tensors, arguments.dump)


if __name__ == "__main__":
    main()
