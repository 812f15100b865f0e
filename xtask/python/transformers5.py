"""What a current transformers saves and computes: checkpoints and references of its own under `fixtures/models/`, and
how far its results are from those of the release that all other references were made with.

Run by `cargo xtask reference` in its second environment, that of `requirements-5.txt`.
"""

import argparse
import json
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import (
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPSegModel,
    CLIPSegProcessor,
    CLIPSegTextModel,
    CLIPSegVisionModel,
    CLIPTokenizer,
    ViTImageProcessor,
)
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from cases import CASES, Inputs
from recipes import CHECKPOINTS
from reference import flatten, sort_metadata
from tiny import generator, mean_and_deviation

CLASSES = dict(
    segmentation=CLIPSegForImageSegmentation, clip=CLIPSegModel, text=CLIPSegTextModel, vision=CLIPSegVisionModel
)
PROCESSOR = "fixtures/processor"
SIDE = 48
# The size of the vocabulary: the fixture's tokens, and two that are added.
VOCABULARY = 527
WHOLE = "tiny-transformers-5"
CONFIG = dict(
    text_config=dict(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=20, bos_token_id=523, eos_token_id=524, pad_token_id=524,
    ),
    vision_config=dict(
        hidden_size=24, intermediate_size=32, num_hidden_layers=3, num_attention_heads=3, image_size=32, patch_size=16,
    ),
    projection_dim=12, extract_layers=[0, 2], reduce_dim=16, decoder_num_attention_heads=2,
    decoder_intermediate_size=24, use_complex_transposed_convolution=True,
)  # fmt: skip
# What is saved, and what each is asked. The towers alone have no `text_model.` or `vision_model.` before their names.
SAVED = {
    WHOLE: ("segmentation", ["segmentation", "segmentation-image", "segmentation-resized", "clip"]),
    f"{WHOLE}-text": ("text", ["text", "text-unmasked", "text-holes"]),
    f"{WHOLE}-vision": ("vision", ["vision", "vision-oblong", "vision-same-count"]),
}
TEXTS = ["the green star!!", "a <my-star> b", "x<obj>y", "<My-Star>", "The GREEN  star", "naïve café", "don't", "星 star"]


@torch.no_grad()
def whole_model():
    model = CLIPSegForImageSegmentation(CLIPSegConfig(**CONFIG)).eval()
    for name, parameter in model.named_parameters():
        mean, deviation = mean_and_deviation(name, parameter.shape)
        parameter.copy_(mean + deviation * torch.randn(parameter.shape, generator=generator(WHOLE, name)))
    return model


def part(name, model):
    """The same weights as another of the classes."""
    clip = getattr(model, "clip", model)
    if isinstance(model, CLASSES[name]):
        return model
    return clip if name == "clip" else getattr(clip, f"{name}_model")


@torch.no_grad()
def outputs(task, model, given, options):
    options = dict(options)
    details = options.pop("details", False)
    # This release's own rule is the later one.
    options.pop("later_positions", None)
    asked = part(task, model)
    result = asked(**given, **options, output_hidden_states=details, output_attentions=details, return_dict=True)
    decoder = result.get("decoder_output")
    if decoder is not None and decoder.hidden_states is not None:
        # This release has what enters the first layer before the outputs of the layers, the other the outputs alone.
        decoder.hidden_states = decoder.hidden_states[1:]
    tensors = {}
    flatten("out", result, tensors)
    if not details:
        tensors = {name: value for name, value in tensors.items() if "decoder_output" not in name}
        tensors = {name: value for name, value in tensors.items() if "hidden_states" not in name}
    # The pooled outputs of the towers inside are projected by this release: they are `text_embeds` before they are
    # normalised, and not what `pooler_output` is in the other references.
    inside = ("text_model_output.pooler_output", "vision_model_output.pooler_output")
    return {name: value for name, value in tensors.items() if not name.endswith(inside)}


def save(tensors, path, **metadata):
    metadata |= dict(transformers=transformers.__version__, torch=torch.__version__.split("+")[0])
    save_file(tensors, path, metadata)
    sort_metadata(path)
    path.chmod(0o644)


def tokenizer(root):
    """The small vocabulary of the tokenizers' fixture with two tokens added, one of them special."""
    fixture = json.loads((root / PROCESSOR / "tokenizers.json").read_text())
    merges = [tuple(merge.split(" ")) for merge in fixture["merges"]]
    made = CLIPTokenizer(vocab=fixture["vocab"], merges=merges, model_max_length=20)
    made.add_tokens(["<my-star>"])
    made.add_special_tokens(dict(extra_special_tokens=["<obj>"]))
    assert len(made) == VOCABULARY, len(made)
    return made


def write_saved(root):
    model = whole_model()
    for name, (what, cases) in SAVED.items():
        folder = root / "fixtures/models" / name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "references").mkdir(parents=True)
        part(what, model).save_pretrained(folder)
        (folder / "model.safetensors").chmod(0o644)
        loaded = CLASSES[what].from_pretrained(folder, attn_implementation="eager").eval()
        for case in cases:
            task = case.split("-")[0]
            given, options = CASES[case](Inputs(loaded.config, name, case))
            tensors = outputs(task, loaded, given, options) | {f"in.{key}": value.contiguous() for key, value in given.items()}
            save(tensors, folder / f"references/{case}.safetensors", task=task)
            print(f"  {name}, {case}: {len(tensors)} tensors")
    folder = root / "fixtures/models" / WHOLE
    size = dict(height=SIDE, width=SIDE)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    options = dict(size=size, image_mean=mean, image_std=std)
    made = tokenizer(root)
    CLIPSegProcessor(ViTImageProcessor(**options), made).save_pretrained(folder)
    again = CLIPTokenizer.from_pretrained(folder)
    ids = {text: again(text)["input_ids"] for text in TEXTS}
    lines = ",\n".join(f"{json.dumps(text, ensure_ascii=False)}: {row}" for text, row in ids.items())
    (folder / "references/prompts.json").write_text(f"{{\n{lines}\n}}\n")

    noise = Image.open(root / PROCESSOR / "noise.png").convert("RGB")
    photo = dict([("in.photo", torch.from_numpy(np.asarray(noise).copy()))])
    for name, cls in dict(pil=ViTImageProcessorPil, torchvision=ViTImageProcessor).items():
        pixels = cls(**options)(noise, return_tensors="pt")["pixel_values"][0]
        # Torchvision's resize rounds some bytes otherwise: this is one step of a byte, relative to the
        # largest value.
        step = 1 / 255 / min(std) / float(pixels.abs().max())
        tolerance = {} if name == "pil" else dict(tolerance=f"{1.01 * step:.4f}")
        path = folder / f"references/preprocess-{name}.safetensors"
        save(photo | {"out.pixel_values": pixels.contiguous()}, path, task="preprocess", **tolerance)


EQUAL = 1e-4  # What `cargo xtask verify` takes for equal, of the largest magnitude.


def kind(name):
    """Outputs of one kind, whatever their place: `hidden_states.3` and `hidden_states.4` are one."""
    return ".".join(part for part in name.removeprefix("out.").split(".") if not part.isdigit())


def compare(root):
    """Every committed reference of the other release, computed by this one."""
    worst, counts, differences = defaultdict(float), defaultdict(int), defaultdict(set)
    for folder in sorted((root / "fixtures/models").iterdir()):
        if folder.name.startswith(WHOLE) or not (folder / "references").is_dir():
            continue
        what = CHECKPOINTS.get(folder.name, {}).get("model", "segmentation")
        model = CLASSES[what].from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
        for path in sorted((folder / "references").glob("*.safetensors")):
            with safe_open(path, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}
                task = file.metadata()["task"]
            given = {name[3:]: value for name, value in tensors.items() if name.startswith("in.")}
            options = dict(details=any("hidden_states" in name for name in tensors))
            if "out.loss" in tensors and task == "clip":
                options["return_loss"] = True
            try:
                found = outputs(task, model, given, options)
            except Exception as error:  # What it cannot do is a result.
                differences[f"{task}: {type(error).__name__}: {str(error)[:80]}"].add(f"{folder.name}/{path.stem}")
                continue
            for name, expected in tensors.items():
                if not name.startswith("out."):
                    continue
                if name not in found:
                    differences[f"no {kind(name)}"].add(f"{folder.name}/{path.stem}")
                elif found[name].shape != expected.shape:
                    shapes = f"{list(found[name].shape)}, was {list(expected.shape)}"
                    differences[f"shape of {kind(name)}"].add(f"{folder.name}/{path.stem} ({shapes})")
                else:
                    relative = float((found[name] - expected).abs().max() / expected.abs().max())
                    if relative > EQUAL:
                        differences[f"values of {path.stem}"].add(f"{folder.name} ({kind(name)} by {relative:.0e})")
                        continue
                    counts[kind(name)] += 1
                    worst[kind(name)] = max(worst[kind(name)], relative)
    print("\n| output | tensors | largest difference, relative |\n|---|---|---|")
    for name in sorted(worst):
        print(f"| `{name}` | {counts[name]} | {worst[name]:.1e} |")
    print("\n| what differs | where |\n|---|---|")
    for text, places in sorted(differences.items()):
        print(f"| {text} | {len(places)} times, for example {sorted(places)[0]} |")


def compare_preprocessing(root):
    expected = {}
    with safe_open(root / PROCESSOR / "expected.safetensors", "np") as file:
        for name in file.keys():
            expected[name] = file.get_tensor(name)
    print("\n| photo, resized to 352×352 | `ViTImageProcessorPil` | `ViTImageProcessor` (Torchvision) |\n|---|---|---|")
    for path in sorted((root / "fixtures/photos").iterdir()):
        if f"photo/{path.name}" not in expected:
            continue
        rows = expected[f"photo/{path.name}"].astype(np.float32)
        cells = []
        for cls in (ViTImageProcessorPil, ViTImageProcessor):
            made = cls(size=dict(height=352, width=352), do_rescale=False, do_normalize=False)
            pixels = made(Image.open(path).convert("RGB"), return_tensors="pt")["pixel_values"][0]
            found = pixels.permute(1, 2, 0).numpy().astype(np.float32)[::7]
            off = np.abs(found - rows)
            cells.append("equal" if off.max() == 0 else f"{(off > 0).mean():.2%} of bytes differ, by {off.max():g} at most")
        print(f"| {path.name} | {cells[0]} | {cells[1]} |")


def compare_tokens(root):
    fast = CLIPTokenizer.from_pretrained(root / "fixtures/clip-tokenizer")
    cases = json.loads((root / PROCESSOR / "prompts.json").read_text())
    differ = [case["text"] for case in cases if fast(case["text"], truncation=True).input_ids != case["ids"]]
    print(f"\n{len(differ)} of {len(cases)} prompts have other ids: {differ[:8]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2], help="the repository")
    arguments = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    write_saved(arguments.root)
    print(f"\ntransformers {transformers.__version__} beside the references of the other environment")
    compare(arguments.root)
    compare_preprocessing(arguments.root)
    compare_tokens(arguments.root)


if __name__ == "__main__":
    main()
