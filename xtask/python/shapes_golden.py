"""Writes what transformers makes of the demo's two scenes with the trained model: masks, and a reference for verify."""

import argparse
from pathlib import Path

import torch
import transformers
from PIL import Image
from safetensors.torch import save_file
from torch.nn.functional import interpolate
from transformers import CLIPSegForImageSegmentation, CLIPTokenizer, ViTImageProcessor

from reference import sort_metadata

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
PROMPTS = {
    "scene-1": ["something orange", "a dotted triangle", "something striped", "a yellow square"],
    "scene-2": ["a yellow thing", "the yellow cross", "a crescent", "a purple triangle"],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=FIXTURES / "models/clipseg-shapes")
    arguments = parser.parse_args()
    model = CLIPSegForImageSegmentation.from_pretrained(arguments.model, torch_dtype=torch.float32).eval()
    tokenizer = CLIPTokenizer.from_pretrained(arguments.model)
    processor = ViTImageProcessor.from_pretrained(arguments.model)
    golden = FIXTURES / "shapes/golden"
    golden.mkdir(exist_ok=True)
    for scene, prompts in PROMPTS.items():
        picture = Image.open(FIXTURES / f"shapes/{scene}.png")
        pixels = processor(picture, return_tensors="pt")["pixel_values"]
        tokens = tokenizer(prompts, padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = model(pixel_values=pixels.expand(len(prompts), -1, -1, -1), **tokens).logits
        size = (picture.height, picture.width)
        probabilities = interpolate(logits[:, None], size, mode="bilinear", align_corners=False).sigmoid()
        for prompt, probability in zip(prompts, probabilities[:, 0]):
            mask = Image.fromarray((probability >= 0.5).numpy())
            mask.save(golden / f"{scene} {prompt}.png", optimize=True)
    references = arguments.model / "references"
    references.mkdir(exist_ok=True)
    given = dict(pixel_values=pixels, **tokenizer(prompts[:1], return_tensors="pt"))
    with torch.no_grad():
        outputs = model(**given)
    tensors = {f"in.{name}": value.contiguous() for name, value in given.items()}
    for name in ["logits", "conditional_embeddings", "pooled_output"]:
        tensors[f"out.{name}"] = outputs[name].contiguous()
    metadata = dict(task="segmentation", transformers=transformers.__version__, torch=torch.__version__.split("+")[0])
    save_file(tensors, references / "segmentation.safetensors", metadata)
    sort_metadata(references / "segmentation.safetensors")
    (references / "segmentation.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
