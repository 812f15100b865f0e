"""The tiny checkpoints' random weights, saved and loaded as transformers does."""

import math
import zlib

import torch
from transformers import (
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPSegModel,
    CLIPSegTextModel,
    CLIPSegVisionModel,
)
from transformers.activations import ACT2FN

from recipes import CHECKPOINTS

# transformers documents "selu" for `hidden_act` and then fails on it: its table lacks the name. This is what it means.
ACT2FN["selu"] = torch.nn.SELU

CLASSES = dict(
    segmentation=CLIPSegForImageSegmentation, clip=CLIPSegModel, text=CLIPSegTextModel, vision=CLIPSegVisionModel
)



def generator(*parts):
    """A seeded generator of its own for every purpose, so that adding a case leaves the others as they are."""
    return torch.Generator().manual_seed(zlib.crc32("/".join(parts).encode()))


def mean_and_deviation(name, shape):
    """How one parameter is drawn: weights by fan-in, gains about one, biases never zero."""
    if name.endswith("logit_scale"):
        return 2.6592, 0.1
    if "norm" in name or "layrnorm" in name:
        return (1.0, 0.2) if name.endswith("weight") else (0.0, 0.2)
    if name.endswith("film_mul.bias"):
        return 1.0, 0.3
    if name.endswith("bias"):
        return 0.0, 0.2
    if "position_embedding" in name:
        return 0.0, 0.5
    if "token_embedding" in name or "class_embedding" in name:
        return 0.0, 1.0
    # A transposed convolution whose stride is its kernel reads one input position for each output, and its weight is
    # stored [in, out, height, width]; every other weight is [out, in, ...].
    transposed = name.endswith(("transposed_convolution.weight", "transposed_convolution.2.weight"))
    last = name.endswith(("transposed_convolution.weight", "transposed_convolution.4.weight"))
    fan_in = shape[0] if transposed or last else math.prod(shape[1:])
    # Queries and keys of deviation 1.5 give scores of deviation about 2: peaked attention, not saturated.
    gain = 1.5 if "q_proj" in name or "k_proj" in name else 5.0 if last else 0.9
    return 0.0, gain / math.sqrt(fan_in)


def as_class(name, model):
    """The same weights behind the interface that `name` stands for; `model` may hold more than that."""
    if isinstance(model, CLASSES[name]):
        return model
    clip = getattr(model, "clip", model)
    if name == "clip":
        return clip
    tower = CLASSES[name](getattr(clip.config, f"{name}_config")).eval()
    setattr(tower, f"{name}_model", getattr(clip, f"{name}_model"))
    return tower


@torch.no_grad()
def save_checkpoint(name, directory):
    """Writes `config.json` and `model.safetensors`, or its shards, as `save_pretrained` does."""
    recipe = CHECKPOINTS[name]
    model = CLIPSegForImageSegmentation(CLIPSegConfig(**recipe["config"])).eval()
    for parameter_name, parameter in model.named_parameters():
        mean, deviation = mean_and_deviation(parameter_name, parameter.shape)
        values = torch.randn(parameter.shape, generator=generator(name, parameter_name))
        parameter.copy_(mean + deviation * values)
    model = as_class(recipe.get("model", "segmentation"), model)
    model.to(recipe.get("stored_as", torch.float32))
    state = model.state_dict()
    if recipe.get("position_ids"):
        # Older releases saved these buffers; a reader has to pass over them.
        for tower in ("text_model", "vision_model"):
            prefix = f"clip.{tower}.embeddings"
            rows = state[f"{prefix}.position_embedding.weight"].shape[0]
            state[f"{prefix}.position_ids"] = torch.arange(rows).expand(1, -1).contiguous()
    shard_size = recipe.get("shard_size", "5GB")
    model.save_pretrained(directory, state_dict=state, safe_serialization=True, max_shard_size=shard_size)
    for weights in directory.glob("*.safetensors"):
        weights.chmod(0o644)  # safetensors writes it for the owner alone


def load_checkpoint(name, directory):
    """The stored numbers, computed with in f32 whatever they were stored as."""
    cls = CLASSES[CHECKPOINTS[name].get("model", "segmentation")]
    return cls.from_pretrained(directory, torch_dtype=torch.float32).eval()
