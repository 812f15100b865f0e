"""A checkpoint of the published architecture with numbers made up from a seed.

The twin of `cargo xtask synth`: the same file, byte for byte. Every number is a function of (seed, tensor name, index)
in integer arithmetic and at most five f32 operations, in the order written here, so that no libm, thread count or
vector width can change it.
"""

import argparse
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[2]
PRESETS = ROOT / "xtask/src/synth"
TOKENIZER = ROOT / "fixtures/clip-tokenizer"
CHUNK = 1 << 22  # elements made at a time

GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1
# The deviation of a sum of four uniform 16-bit numbers.
DRAW_DEVIATION = math.sqrt((65536.0 * 65536.0 - 1.0) / 3.0)
# Channels that are large in the residual stream, as a trained CLIP has a few.
LARGE_CHANNELS = [133, 371, 690]


def mix(values):
    """The finaliser of splitmix64, for an array of uint64."""
    values = (values ^ (values >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return values ^ (values >> numpy.uint64(31))


def stream_key(seed, name):
    """FNV-1a of the name, mixed with the seed."""
    key = 0xCBF29CE484222325
    for byte in name.encode():
        key = ((key ^ byte) * 0x100000001B3) & MASK
    return mix(numpy.array([(key + seed * GOLDEN) & MASK], dtype=numpy.uint64))[0]


def draw(key, index):
    """About normal, an integer of deviation `DRAW_DEVIATION`: the sum of four 16-bit fields less its mean."""
    mixed = mix(key + (index + numpy.uint64(1)) * numpy.uint64(GOLDEN))
    fields = [(mixed >> numpy.uint64(shift)) & numpy.uint64(0xFFFF) for shift in (0, 16, 32, 48)]
    return (sum(fields).astype(numpy.int64) - 131070).astype(numpy.float32)


@dataclass
class Recipe:
    """How the numbers of one tensor are drawn."""

    mean: float = 0.0
    deviation: float = 0.0
    # So many consecutive elements share a second draw of this deviation: convolution kernels that are smooth.
    shared_run: int = 1
    shared_deviation: float = 0.0
    # The large channels' elements are multiplied by this; element i belongs to channel (i / stride) % channels.
    large_factor: float = 1.0
    channel_stride: int = 1
    channels: int = 1

    def values(self, seed, name, start, end):
        index = numpy.arange(start, end, dtype=numpy.uint64)
        own_scale = numpy.float32(self.deviation / DRAW_DEVIATION)
        values = numpy.float32(self.mean) + draw(stream_key(seed, name), index) * own_scale
        if self.shared_deviation != 0.0:
            shared_scale = numpy.float32(self.shared_deviation / DRAW_DEVIATION)
            shared = draw(stream_key(seed, f"{name}/shared"), index // numpy.uint64(self.shared_run))
            values = values + shared * shared_scale
        if self.large_factor != 1.0:
            channel = (index // numpy.uint64(self.channel_stride)) % numpy.uint64(self.channels)
            values[numpy.isin(channel, LARGE_CHANNELS)] *= numpy.float32(self.large_factor)
        return values


def recipe(name, shape):
    """Scales chosen so that attention is peaked but not saturated, and logits depend on both image and prompt."""
    decoder = name.startswith("decoder.")
    rows = dict(channel_stride=math.prod(shape[1:]), channels=shape[0] if shape else 1)
    columns = dict(channel_stride=1, channels=shape[-1] if shape else 1)
    if name == "clip.logit_scale":
        return Recipe(mean=4.6052, deviation=0.01)
    if name.endswith("pre_layrnorm.bias"):
        return Recipe(deviation=0.2, large_factor=40.0, **rows)
    if "norm" in name:
        if name.endswith("bias"):
            return Recipe(deviation=0.1)
        # Trained gains are small where the stream is large, else these channels would drown the others.
        inside = ".layers." in name and not decoder
        return Recipe(mean=1.0, deviation=0.2, large_factor=0.2 if inside else 1.0, **rows)
    if name.endswith("film_mul.bias"):
        return Recipe(mean=1.0, deviation=0.3)
    if name.endswith("transposed_convolution.4.bias"):
        return Recipe(mean=4.0, deviation=0.1)
    if name.endswith("bias"):
        return Recipe(deviation=0.1)
    if name.endswith("vision_model.embeddings.position_embedding.weight"):
        return Recipe(deviation=0.5)
    if name.endswith("text_model.embeddings.position_embedding.weight"):
        return Recipe(deviation=0.3, large_factor=10.0, **columns)
    if name.endswith("token_embedding.weight"):
        return Recipe(deviation=0.6)
    if name.endswith("class_embedding"):
        return Recipe(deviation=1.0)
    if "transposed_convolution" in name:
        # Mostly the same weight all over the kernel, so that the logits are smooth; the rest tells the places apart.
        run = shape[2] * shape[3]
        if name.endswith(".0.weight"):
            deviation = 1.0 / math.sqrt(float(shape[1] * run))
            return Recipe(deviation=0.5 * deviation, shared_run=run, shared_deviation=0.8 * deviation)
        # The stride is the kernel, so an output reads one input position; stored [in, out, height, width].
        deviation = (3.0 if name.endswith(".4.weight") else 1.4) / math.sqrt(float(shape[0]))
        return Recipe(deviation=0.008 * deviation, shared_run=run, shared_deviation=deviation)
    fan_in = math.sqrt(float(math.prod(shape[1:])))
    if "q_proj" in name or "k_proj" in name:
        # Patches resemble each other more than words do, so the vision tower needs sharper scores.
        sharpness = 1.2 if decoder else 2.2 if "vision_model" in name else 1.5
        return Recipe(deviation=sharpness / fan_in)
    if "film_" in name:
        return Recipe(deviation=4.0 / fan_in)
    if "reduces" in name:
        return Recipe(deviation=0.5 / fan_in)
    if "projection" in name:
        return Recipe(deviation=0.5 / fan_in)
    if "out_proj" in name or "fc2" in name:
        factor = 1.0 if decoder else 5.0
        return Recipe(deviation=0.6 / fan_in, large_factor=factor, **rows)
    return Recipe(deviation=1.0 / fan_in)


def tensors(config):
    """Name → shape of everything a checkpoint of this configuration holds, sorted by name."""
    text, vision = config["text_config"], config["vision_config"]
    shapes = {"clip.logit_scale": []}

    def linear(name, inputs, outputs, bias=True):
        shapes[f"{name}.weight"] = [outputs, inputs]
        if bias:
            shapes[f"{name}.bias"] = [outputs]

    def norm(name, width):
        shapes[f"{name}.weight"] = [width]
        shapes[f"{name}.bias"] = [width]

    def layers(prefix, count, width, intermediate):
        for layer in range(count):
            for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
                linear(f"{prefix}.layers.{layer}.self_attn.{projection}", width, width)
            linear(f"{prefix}.layers.{layer}.mlp.fc1", width, intermediate)
            linear(f"{prefix}.layers.{layer}.mlp.fc2", intermediate, width)
            norm(f"{prefix}.layers.{layer}.layer_norm1", width)
            norm(f"{prefix}.layers.{layer}.layer_norm2", width)

    width = text["hidden_size"]
    shapes["clip.text_model.embeddings.token_embedding.weight"] = [text["vocab_size"], width]
    shapes["clip.text_model.embeddings.position_embedding.weight"] = [text["max_position_embeddings"], width]
    layers("clip.text_model.encoder", text["num_hidden_layers"], width, text["intermediate_size"])
    norm("clip.text_model.final_layer_norm", width)
    linear("clip.text_projection", width, config["projection_dim"], bias=False)

    width, patch = vision["hidden_size"], vision["patch_size"]
    shapes["clip.vision_model.embeddings.class_embedding"] = [width]
    shapes["clip.vision_model.embeddings.patch_embedding.weight"] = [width, vision["num_channels"], patch, patch]
    positions = (vision["image_size"] // patch) ** 2 + 1
    shapes["clip.vision_model.embeddings.position_embedding.weight"] = [positions, width]
    norm("clip.vision_model.pre_layrnorm", width)
    layers("clip.vision_model.encoder", vision["num_hidden_layers"], width, vision["intermediate_size"])
    norm("clip.vision_model.post_layernorm", width)
    linear("clip.visual_projection", width, config["projection_dim"], bias=False)

    reduce = config["reduce_dim"]
    linear("decoder.film_mul", config["projection_dim"], reduce)
    linear("decoder.film_add", config["projection_dim"], reduce)
    for index in range(len(config["extract_layers"])):
        linear(f"decoder.reduces.{index}", width, reduce)
    layers("decoder", len(config["extract_layers"]), reduce, config["decoder_intermediate_size"])
    for name, shape, bias in (
        ("0", [reduce, reduce, 3, 3], reduce),
        ("2", [reduce, reduce // 2, patch // 4, patch // 4], reduce // 2),
        ("4", [reduce // 2, 1, patch // 4, patch // 4], 1),
    ):
        shapes[f"decoder.transposed_convolution.{name}.weight"] = shape
        shapes[f"decoder.transposed_convolution.{name}.bias"] = [bias]
    return dict(sorted(shapes.items()))


def make_tensor(seed, name, shape):
    """All numbers of one tensor, flat."""
    how, size = recipe(name, shape), math.prod(shape)
    chunks = [how.values(seed, name, start, min(start + CHUNK, size)) for start in range(0, size, CHUNK)]
    return numpy.concatenate(chunks)


def checksum(values):
    """Order-sensitive and quick: the sum of bit pattern × (2·index + 1), modulo 2⁶⁴."""
    bits = values.view(numpy.uint32).astype(numpy.uint64)
    weights = numpy.arange(len(bits), dtype=numpy.uint64) * numpy.uint64(2) + numpy.uint64(1)
    return f"{int((bits * weights).sum(dtype=numpy.uint64)):016x}"


def shapes_of(preset):
    return tensors(json.loads((PRESETS / preset / "config.json").read_text()))


def write_checkpoint(preset, seed, out):
    """`config.json`, weights, processor and tokenizer, as the Hub serves them."""
    weights = {name: make_tensor(seed, name, shape).reshape(shape) for name, shape in shapes_of(preset).items()}
    out.mkdir(parents=True, exist_ok=True)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    for source in [*(PRESETS / preset).iterdir(), *TOKENIZER.iterdir()]:
        shutil.copyfile(source, out / source.name)


def expected(preset, seed):
    """What the Rust twin is tested against: one tensor for every recipe."""
    chosen = [
        "clip.logit_scale",
        "clip.text_model.embeddings.position_embedding.weight",
        "clip.text_model.encoder.layers.3.layer_norm1.weight",
        "clip.text_model.encoder.layers.3.self_attn.q_proj.weight",
        "clip.text_projection.weight",
        "clip.vision_model.embeddings.class_embedding",
        "clip.vision_model.embeddings.patch_embedding.weight",
        "clip.vision_model.embeddings.position_embedding.weight",
        "clip.vision_model.encoder.layers.11.mlp.fc2.bias",
        "clip.vision_model.encoder.layers.11.mlp.fc2.weight",
        "clip.vision_model.pre_layrnorm.bias",
        "decoder.film_mul.bias",
        "decoder.film_mul.weight",
        "decoder.layers.0.layer_norm2.weight",
        "decoder.layers.2.self_attn.k_proj.weight",
        "decoder.reduces.1.weight",
        "decoder.transposed_convolution.0.weight",
        "decoder.transposed_convolution.2.weight",
        "decoder.transposed_convolution.4.bias",
        "decoder.transposed_convolution.4.weight",
    ]
    shapes, result = shapes_of(preset), {}
    for name in chosen:
        values = make_tensor(seed, name, shapes[name])
        first_bits, last_bits = values[[0, -1]].view(numpy.uint32).tolist()
        result[name] = dict(
            shape=shapes[name], first_bits=first_bits, last_bits=last_bits, checksum=checksum(values)
        )
    return dict(preset=preset, seed=seed, tensors=result)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="clipseg-rd64-refined")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="the directory to write the checkpoint to")
    parser.add_argument("--expected", type=Path, help="write the numbers that the Rust twin is tested against")
    arguments = parser.parse_args()
    if arguments.out:
        write_checkpoint(arguments.preset, arguments.seed, arguments.out)
    if arguments.expected:
        text = json.dumps(expected(arguments.preset, arguments.seed), indent=1)
        arguments.expected.write_text(text + "\n")


if __name__ == "__main__":
    main()
