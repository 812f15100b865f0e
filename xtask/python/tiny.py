"""The tiny checkpoints: their configurations and their random weights.

They differ wherever CLIPSeg can differ, so that an engine which passes on all of them has met ragged and aligned
widths, both transposed convolutions, every pooling rule and every activation that transformers can run.
"""

import math
import zlib

import torch
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

CHECKPOINTS = {
    # Ragged widths; head sizes 24, 8 and 4 (the last is the one of the published rd16 checkpoint).
    "tiny-complex": dict(
        stored_as=torch.float32,
        position_ids=True,
        config=dict(
            text_config=dict(
                vocab_size=600, hidden_size=40, intermediate_size=72, num_hidden_layers=3, num_attention_heads=5,
                max_position_embeddings=20, hidden_act="quick_gelu",
                bos_token_id=598, eos_token_id=599, pad_token_id=599,
            ),
            vision_config=dict(
                hidden_size=48, intermediate_size=100, num_hidden_layers=4, num_attention_heads=2,
                image_size=48, patch_size=16, hidden_act="quick_gelu",
            ),
            projection_dim=36, extract_layers=[0, 1, 3], reduce_dim=16, decoder_num_attention_heads=4,
            decoder_intermediate_size=42, conditional_layer=0, use_complex_transposed_convolution=True,
        ),
    ),
    # The old pooling rule (`eos_token_id` 2 means "the largest id"), the one-step transposed convolution, the condition
    # applied at the second decoder layer, activations that differ between the towers, a width that is odd.
    "tiny-simple": dict(
        stored_as=torch.float32,
        position_ids=False,
        config=dict(
            text_config=dict(
                vocab_size=500, hidden_size=36, intermediate_size=60, num_hidden_layers=2, num_attention_heads=3,
                max_position_embeddings=16, hidden_act="gelu",
                bos_token_id=0, eos_token_id=2, pad_token_id=1,
            ),
            vision_config=dict(
                hidden_size=128, intermediate_size=44, num_hidden_layers=2, num_attention_heads=2,
                image_size=40, patch_size=8, hidden_act="gelu_new",
            ),
            projection_dim=33, extract_layers=[0, 1], reduce_dim=30, decoder_num_attention_heads=3,
            decoder_intermediate_size=50, conditional_layer=1, use_complex_transposed_convolution=False,
        ),
    ),
    # Widths that are multiples of 32 and 64, so that the aligned fast paths run; patch 32 makes the logits 64 times the
    # grid, larger than the image; the end token is not the largest id; weights are stored as f16.
    "tiny-deep": dict(
        stored_as=torch.float16,
        position_ids=False,
        config=dict(
            text_config=dict(
                vocab_size=256, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
                max_position_embeddings=24, hidden_act="relu",
                bos_token_id=249, eos_token_id=250, pad_token_id=0,
            ),
            vision_config=dict(
                hidden_size=64, intermediate_size=128, num_hidden_layers=5, num_attention_heads=2,
                image_size=64, patch_size=32, hidden_act="relu",
            ),
            projection_dim=64, extract_layers=[0, 2, 3, 4], reduce_dim=32, decoder_num_attention_heads=1,
            decoder_intermediate_size=64, conditional_layer=0, use_complex_transposed_convolution=True,
        ),
    ),
}  # fmt: skip


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


@torch.no_grad()
def save_checkpoint(name, directory):
    """Writes `config.json` and `model.safetensors` as `save_pretrained` does."""
    recipe = CHECKPOINTS[name]
    model = CLIPSegForImageSegmentation(CLIPSegConfig(**recipe["config"])).eval()
    for parameter_name, parameter in model.named_parameters():
        mean, deviation = mean_and_deviation(parameter_name, parameter.shape)
        values = torch.randn(parameter.shape, generator=generator(name, parameter_name))
        parameter.copy_(mean + deviation * values)
    model.to(recipe["stored_as"])
    state = model.state_dict()
    if recipe["position_ids"]:
        # Older releases saved these buffers; a reader has to pass over them.
        for tower in ("text_model", "vision_model"):
            prefix = f"clip.{tower}.embeddings"
            rows = state[f"{prefix}.position_embedding.weight"].shape[0]
            state[f"{prefix}.position_ids"] = torch.arange(rows).expand(1, -1).contiguous()
    model.save_pretrained(directory, state_dict=state, safe_serialization=True)
    (directory / "model.safetensors").chmod(0o644)  # safetensors writes it for the owner alone


def load_checkpoint(directory):
    """The stored numbers, computed with in f32 whatever they were stored as."""
    return CLIPSegForImageSegmentation.from_pretrained(directory, torch_dtype=torch.float32).eval()
