"""The model of `clipseg-shapes`: its sizes, the start it is trained from, and its checkpoint."""

import json
import math
import shutil
from pathlib import Path

import torch
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

from shapes_data import DEVIATION, GRID, IMAGE_SIZE, MEAN, PATCH

TOKENIZER = Path(__file__).resolve().parents[2] / "fixtures/clip-tokenizer"

CONFIG = dict(
    projection_dim=64,
    reduce_dim=64,
    extract_layers=[1, 3, 5],
    decoder_num_attention_heads=4,
    decoder_intermediate_size=256,
    conditional_layer=0,
    use_complex_transposed_convolution=True,
)
# CLIP's vocabulary is most of the weights; the phrases need few of its words and little width.
TEXT = dict(
    hidden_size=32,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=2,
    vocab_size=49408,
    max_position_embeddings=77,
    bos_token_id=49406,
    eos_token_id=49407,
    pad_token_id=49407,
)
VISION = dict(
    hidden_size=192,
    intermediate_size=576,
    num_hidden_layers=6,
    num_attention_heads=6,
    image_size=IMAGE_SIZE,
    patch_size=PATCH,
)


def fresh_model(seed, pictures):
    """A start from which it trains in an hour; `pictures` are normalised ones of the training data, [N, 3, 128, 128]."""
    torch.manual_seed(seed)
    model = CLIPSegForImageSegmentation(CLIPSegConfig(text_config=TEXT, vision_config=VISION, **CONFIG))
    with torch.no_grad():
        start_upsampling(model.decoder)
        torch.nn.init.ones_(model.decoder.film_mul.bias)
        vision = model.clip.vision_model
        vision.embeddings.position_embedding.weight[1:] = 0.5 * positions(vision.embeddings.embed_dim)
        start_patches(vision.embeddings.patch_embedding, pictures)
        for layer in vision.encoder.layers:
            start_attention(layer.self_attn)
    return model


def start_upsampling(decoder):
    """transformers' own start leaves the logits near ±200, and nothing trains."""
    for module in decoder.transposed_convolution:
        if not hasattr(module, "weight"):
            continue
        # A transposed convolution with kernel = stride adds up `in_channels` products, nothing more.
        transposed = isinstance(module, torch.nn.ConvTranspose2d)
        fan_in = module.in_channels if transposed else module.in_channels * 9
        torch.nn.init.normal_(module.weight, std=math.sqrt(2 / fan_in))
        torch.nn.init.zeros_(module.bias)
    last = decoder.transposed_convolution[-1]
    torch.nn.init.normal_(last.weight, std=0.5 / math.sqrt(last.in_channels))
    torch.nn.init.constant_(last.bias, -2.0)


def positions(width):
    """Sines and cosines of a patch's row and column, [64, width], so that neighbours are told from the first step on."""
    row, column = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    rates = torch.arange(1, width // 4 + 1) / (width // 4) * math.pi / 2
    waves = [wave(place.reshape(-1, 1) * rates) for place in (row, column) for wave in (torch.sin, torch.cos)]
    return torch.cat(waves, dim=1)


def start_patches(convolution, pictures):
    """The principal components of the patches, turned at random.

    A patch's mean colour deviates seventy times as much as its finer components. A random start hides these, and edges
    and textures are learnt late; here each component counts by the root of its deviation.
    """
    patches = pictures.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3 * PATCH**2)
    patches = patches - patches.mean(0)
    _, deviations, components = torch.linalg.svd(patches, full_matrices=False)
    width = convolution.out_channels
    weight = components[:width] / deviations[:width, None].sqrt()
    rotation = torch.linalg.qr(torch.randn(width, width)).Q
    convolution.weight.copy_((rotation @ weight / (patches @ weight.T).std()).view_as(convolution.weight))


def start_attention(attention):
    """Attention starts as in trained transformers: queries like keys, so that a patch looks at its own place and likeness,
    and values taken off rather than added (Trockman and Kolter, Mimetic Initialization, 2023)."""
    width, heads = attention.embed_dim, attention.num_heads
    size = width // heads
    noise = lambda: torch.randn(width, width) / math.sqrt(width)
    for head in range(heads):
        rows = slice(head * size, (head + 1) * size)
        left, strengths, right = torch.linalg.svd(0.7 * torch.eye(width) + 0.7 * noise())
        scale = 0.35 * size**0.25 * strengths[:size, None].sqrt()
        attention.q_proj.weight[rows] = scale * left[:, :size].T
        attention.k_proj.weight[rows] = scale * right[:size]
    left, strengths, right = torch.linalg.svd(0.4 * noise() - 0.4 * torch.eye(width))
    attention.v_proj.weight.copy_((left * strengths.sqrt()).T)
    attention.out_proj.weight.copy_(right.T * strengths.sqrt())


def export(model, directory):
    """The checkpoint as the Hub would serve it, weights in f16."""
    model.half().save_pretrained(directory, safe_serialization=True)
    processor = dict(
        do_normalize=True,
        do_rescale=True,
        do_resize=True,
        image_mean=MEAN.flatten().tolist(),
        image_processor_type="ViTImageProcessor",
        image_std=DEVIATION.flatten().tolist(),
        resample=2,
        rescale_factor=1 / 255,
        size=dict(height=IMAGE_SIZE, width=IMAGE_SIZE),
    )
    (directory / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
    for name in ["vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json"]:
        shutil.copy(TOKENIZER / name, directory / name)
