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


# Positions have the first channels of the tower to themselves, as many as an attention head is wide.
PLACE = VISION["hidden_size"] // VISION["num_attention_heads"]
RATES = torch.arange(1, PLACE // 4 + 1) * 2 * math.pi / 16
# Where the heads of even and of odd layers look at the start: at a patch's neighbours, by (rows, columns); two heads of each
# layer are free.
NEIGHBOURS = [[(-1, 0), (1, 0), (0, -1), (0, 1)], [(-1, -1), (1, 1), (1, -1), (-1, 1)]]


def fresh_model(seed, pictures):
    """A start from which it trains in an hour; `pictures` are normalised ones of the training data, [N, 3, S, S]."""
    torch.manual_seed(seed)
    model = CLIPSegForImageSegmentation(CLIPSegConfig(text_config=TEXT, vision_config=VISION, **CONFIG))
    with torch.no_grad():
        start_upsampling(model.decoder)
        torch.nn.init.ones_(model.decoder.film_mul.bias)
        start_embeddings(model.clip.vision_model.embeddings, pictures)
        for number, layer in enumerate(model.clip.vision_model.encoder.layers):
            start_layer(layer, NEIGHBOURS[number % 2])
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


def start_embeddings(embeddings, pictures):
    """Patches as their principal components, turned at random, and places as waves of rows and columns.

    A patch's mean colour deviates seventy times as much as its finer components. A random start hides these, and edges
    and textures are learnt late; here each component counts by the root of its deviation.
    """
    patches = pictures.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH).permute(0, 2, 3, 1, 4, 5).reshape(-1, 3 * PATCH**2)
    patches = patches - patches.mean(0)
    _, deviations, components = torch.linalg.svd(patches, full_matrices=False)
    width = embeddings.embed_dim - PLACE
    weight = components[:width] / deviations[:width, None].sqrt()
    rotation = torch.linalg.qr(torch.randn(width, width)).Q
    weight = rotation @ weight / (patches @ weight.T).std()
    embeddings.patch_embedding.weight.zero_()
    embeddings.patch_embedding.weight[PLACE:] = weight.view(width, 3, PATCH, PATCH)
    row, column = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    waves = [wave(place.reshape(-1, 1) * RATES) for place in (row, column) for wave in (torch.sin, torch.cos)]
    embeddings.position_embedding.weight.zero_()
    embeddings.position_embedding.weight[1:, :PLACE] = 1.4 * torch.cat(waves, dim=1)
    embeddings.class_embedding[:PLACE] = 0


def start_layer(layer, neighbours):
    """A layer whose first heads gather from neighbours, as a convolution would; places stay as they are.

    The waves' products are a sharp peak at equal places, and turning the query's waves moves the peak to a neighbour.
    """
    attention = layer.self_attn
    width, heads = attention.embed_dim, attention.num_heads
    size = width // heads
    noise = lambda scale: scale * torch.randn(width, width) / math.sqrt(width)
    likeness = noise(0.5)
    likeness[:, :PLACE] = 0
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight.copy_(likeness)
    for head, offsets in enumerate(neighbours):
        rows = slice(head * size, (head + 1) * size)
        for projection, (down, right) in [(attention.q_proj, offsets), (attention.k_proj, (0, 0))]:
            projection.weight[rows] = 0
            projection.weight[rows, :PLACE] = math.sqrt(2.2) * torch.block_diag(moved(down), moved(right))
    attention.v_proj.weight.copy_(noise(1.0))
    attention.v_proj.weight[:, :PLACE] *= 0.3
    attention.out_proj.weight.copy_(noise(0.5))
    for projection in (attention.out_proj, layer.mlp.fc2):
        projection.weight[:PLACE] = 0


def moved(places):
    """Takes sines and cosines of a place to those of the place `places` further."""
    cosine, sine = torch.diag(torch.cos(RATES * places)), torch.diag(torch.sin(RATES * places))
    return torch.cat([torch.cat([cosine, sine], dim=1), torch.cat([-sine, cosine], dim=1)])


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
