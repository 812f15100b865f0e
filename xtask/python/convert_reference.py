"""Makes `fixtures/convert`: tiny checkpoints in the formats that `clipseg convert` reads, and what transformers makes of them.

A random CLIPSeg is taken apart into the names of the original repositories (timojl/clipseg and openai/CLIP) by rules
written here, saved as those save, and put together again by transformers' own conversion script. `expected.json` holds
the result's tensors, a SHA-256 of each one's bytes; `reference.safetensors` what transformers computes with them.
"""

import argparse
import hashlib
import json
import re
import shutil
import warnings
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation
from transformers.models.clipseg.convert_clipseg_original_pytorch_to_hf import convert_state_dict

from reference import Inputs, flatten, sort_metadata
from tiny import generator, mean_and_deviation

SIZE_LIMIT = 2_500_000  # bytes, all of it

# Everything that cannot be read off the tensors is as in the published checkpoints: ten vision layers, since
# layers 3, 6 and 9 are read; heads 64 wide; the vocabulary's last tokens are start and end. No `--config` is
# needed.
PUBLISHED = dict(
    text_config=dict(
        vocab_size=56, hidden_size=64, intermediate_size=24, num_hidden_layers=2, num_attention_heads=1,
        max_position_embeddings=12, bos_token_id=54, eos_token_id=55,
    ),
    vision_config=dict(
        hidden_size=64, intermediate_size=16, num_hidden_layers=10, num_attention_heads=1, image_size=32, patch_size=16,
    ),
    projection_dim=24, reduce_dim=16, decoder_intermediate_size=28, use_complex_transposed_convolution=False,
)  # fmt: skip

# Everything that cannot be read off the tensors differs from the published checkpoints, so it has to come
# from `--config`.
UNUSUAL = dict(
    text_config=dict(
        vocab_size=40, hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=3,
        max_position_embeddings=10, bos_token_id=30, eos_token_id=31, pad_token_id=0,
    ),
    vision_config=dict(
        hidden_size=32, intermediate_size=44, num_hidden_layers=3, num_attention_heads=4, image_size=24, patch_size=8,
    ),
    projection_dim=20, extract_layers=[0, 2], reduce_dim=12, decoder_num_attention_heads=3,
    decoder_intermediate_size=18, conditional_layer=1, use_complex_transposed_convolution=True,
)  # fmt: skip


def seeded(module, name):
    """Fills a module's parameters with numbers of their own."""
    with torch.no_grad():
        for parameter_name, parameter in module.named_parameters():
            mean, deviation = mean_and_deviation(parameter_name, parameter.shape)
            values = torch.randn(parameter.shape, generator=generator("convert", name, parameter_name))
            parameter.copy_(mean + deviation * values)
    return module.eval()


# The names of the original repositories, where transformers has others. Written from the repositories'
# sources, not from transformers' script, which is tested with them.
LAYER = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
         "self_attn.out_proj": "attn.out_proj"}  # fmt: skip
BLOCK = {"layer_norm1": "norm1", "layer_norm2": "norm2", "mlp.fc1": "linear1", "mlp.fc2": "linear2",
         "self_attn.out_proj": "self_attn.out_proj"}  # fmt: skip
TOWERS = {
    "text_model": ("transformer.resblocks", {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "final_layer_norm.weight": "ln_final.weight", "final_layer_norm.bias": "ln_final.bias",
    }),
    "vision_model": ("visual.transformer.resblocks", {
        "embeddings.class_embedding": "visual.class_embedding",
        "embeddings.patch_embedding.weight": "visual.conv1.weight",
        "embeddings.position_embedding.weight": "visual.positional_embedding",
        "pre_layrnorm.weight": "visual.ln_pre.weight", "pre_layrnorm.bias": "visual.ln_pre.bias",
        "post_layernorm.weight": "visual.ln_post.weight", "post_layernorm.bias": "visual.ln_post.bias",
    }),
}  # fmt: skip


def rename_layers(state, prefix, target, rules, attention):
    """The tensors of numbered layers, with queries, keys and values joined as `nn.MultiheadAttention` has them."""
    result = {}
    for name, tensor in state.items():
        found = re.fullmatch(re.escape(prefix) + r"\.(\d+)\.(.*)\.(weight|bias)", name)
        if not found:
            continue
        layer, part, kind = found.groups()
        if part in rules:
            result[f"{target}.{layer}.{rules[part]}.{kind}"] = tensor
        elif part == "self_attn.q_proj":
            rows = [state[f"{prefix}.{layer}.self_attn.{which}_proj.{kind}"] for which in "qkv"]
            result[f"{target}.{layer}.{attention}.in_proj_{kind}"] = torch.cat(rows)
        else:
            assert part in ("self_attn.k_proj", "self_attn.v_proj"), name
    return result


def original_clip(state):
    """CLIP under OpenAI's names."""
    result = {
        "logit_scale": state["clip.logit_scale"],
        "text_projection": state["clip.text_projection.weight"].t().contiguous(),
        "visual.proj": state["clip.visual_projection.weight"].t().contiguous(),
    }
    for tower, (layers, names) in TOWERS.items():
        for name, original in names.items():
            result[original] = state[f"clip.{tower}.{name}"]
        result |= rename_layers(state, f"clip.{tower}.encoder.layers", layers, LAYER, "attn")
    return result


def original_decoder(state, random):
    """The decoder under the names of timojl/clipseg, with the layer that its `state_dict` has and nothing uses."""
    result = {}
    for name, tensor in state.items():
        if name.startswith(("decoder.film_", "decoder.reduces.")):
            result[name.removeprefix("decoder.")] = tensor
        elif name.startswith("decoder.transposed_convolution"):
            result[name.replace("decoder.transposed_convolution", "trans_conv")] = tensor
    result |= rename_layers(state, "decoder.layers", "blocks", BLOCK, "self_attn")
    weight = state["decoder.reduces.0.weight"]
    result["reduce.weight"] = torch.randn(weight.shape, generator=random)
    result["reduce.bias"] = torch.randn(weight.shape[:1], generator=random)
    return result


def stored_half(name):
    """What OpenAI's `convert_weights` makes f16: convolutions, linear layers, attention, projections."""
    return any(part in name for part in ("conv1", "mlp", "attn", "proj"))


def as_openai_stores(clip):
    return {name: tensor.half() if stored_half(name) else tensor for name, tensor in clip.items()}


class Holder(nn.Module):
    """A module that does nothing but hold what it is given, under dotted names."""

    def __init__(self, tensors):
        super().__init__()
        inner = {}
        for name, tensor in tensors.items():
            head, dot, rest = name.partition(".")
            if dot:
                inner.setdefault(head, {})[rest] = tensor
            elif tensor.is_floating_point():
                self.register_parameter(head, nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(head, tensor)
        for name, parts in inner.items():
            self.add_module(name, Holder(parts))
        self.heads = len(tensors)
        self.shape = [1, 2]


def save_torchscript(clip, path):
    """Saves CLIP as OpenAI's archives do: modules within modules, the sizes as buffers of the outermost."""
    sizes = dict(input_resolution=torch.tensor(32), context_length=torch.tensor(12), vocab_size=torch.tensor(56))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and its archives are what there is to read
        torch.jit.script(Holder(clip | sizes)).save(str(path))


def converted(original, config):
    """What transformers' own script makes of the joined names; the model that has loaded it."""
    state = convert_state_dict({n: t for n, t in original.items() if not n.startswith("model.")}, config)
    model = CLIPSegForImageSegmentation(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not [name for name in missing if not name.endswith("position_ids")], missing
    assert sorted(unexpected) == ["decoder.reduce.bias", "decoder.reduce.weight"], unexpected
    return model.eval()


def join(clip, decoder):
    return {f"clip_model.{name}": tensor for name, tensor in clip.items()} | decoder


def write_expected(model, path):
    rows = {
        name: dict(shape=list(tensor.shape), sha256=hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest())
        for name, tensor in sorted(model.state_dict().items())
    }
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    path.write_text("{\n" + lines + "\n}\n")


@torch.no_grad()
def write_reference(model, name, path):
    inputs = Inputs(model.config, "convert", name)
    given = dict(pixel_values=inputs.pixels(2), **inputs.prompts([7, 4]))
    outputs = model(**given, return_dict=True)
    tensors = {f"in.{key}": value.contiguous() for key, value in given.items()}
    flatten("out", outputs, tensors)
    tensors.pop("out.decoder_output.logits")
    assert all(tensor.isfinite().all() for tensor in tensors.values()), name
    metadata = dict(task="segmentation", transformers=transformers.__version__, torch=torch.__version__.split("+")[0])
    save_file(tensors, path, metadata)
    sort_metadata(path)
    print(f"  {name}: logits {tuple(outputs.logits.shape)} deviate by {outputs.logits.std():.2f}")


def published(root):
    """The decoder alone beside OpenAI's TorchScript archive."""
    folder = root / "published"
    folder.mkdir(parents=True)
    config = CLIPSegConfig(**PUBLISHED)
    source = seeded(CLIPSegForImageSegmentation(config), "published").state_dict()
    clip = as_openai_stores(original_clip(source))
    decoder = original_decoder(source, generator("convert", "published", "reduce"))
    torch.save(decoder, folder / "rd16-uni.pth")
    save_torchscript(clip, folder / "ViT-B-16.pt")
    model = converted(join(clip, decoder), config)
    write_expected(model, folder / "expected.json")
    write_reference(model, "published", folder / "reference.safetensors")


def unusual(root):
    """The same weights as plain state dicts, as one joined file, and as transformers' `pytorch_model.bin`."""
    folder = root / "unusual"
    folder.mkdir()
    config = CLIPSegConfig(**UNUSUAL)
    source = seeded(CLIPSegForImageSegmentation(config), "unusual").state_dict()
    clip = as_openai_stores(original_clip(source))
    decoder = original_decoder(source, generator("convert", "unusual", "reduce"))
    torch.save(decoder, folder / "rd64-uni-refined.pth")
    torch.save(clip, folder / "clip-state-dict.pt")
    # The joined file as the original model's `state_dict` gives it: `model` is another name of `clip_model.visual`.
    joined = join(clip, decoder)
    prefix = "clip_model.visual."
    joined |= {f"model.{n.removeprefix(prefix)}": t for n, t in joined.items() if n.startswith(prefix)}
    torch.save(joined, folder / "clip-plus-decoder.pth")

    model = converted(joined, config)
    write_expected(model, folder / "expected.json")
    write_reference(model, "unusual", folder / "reference.safetensors")

    hub, sharded = root / "hub", root / "hub-sharded"
    model.save_pretrained(hub, safe_serialization=False)
    model.save_pretrained(sharded, safe_serialization=False, max_shard_size="60KB")
    # One weight in another order in memory, and one that is part of a larger storage: strides and offsets.
    state = torch.load(hub / "pytorch_model.bin", weights_only=True)
    name = "clip.text_projection.weight"
    state[name] = state[name].t().contiguous().t()
    name = "decoder.film_add.weight"
    rows, columns = state[name].shape
    state[name] = torch.cat([torch.zeros(3, columns), state[name]])[3:]
    name = "decoder.film_mul.weight"
    state[name] = torch.stack([state[name], -state[name]], dim=-1)[..., 0]
    assert not state[name].is_contiguous()
    # As older releases have it.
    for tower, rows in (("text_model", 10), ("vision_model", 10)):
        state[f"clip.{tower}.embeddings.position_ids"] = torch.arange(rows).expand(1, -1)
    torch.save(state, hub / "pytorch_model.bin")
    for path in (hub / "generation_config.json", sharded / "generation_config.json"):
        path.unlink(missing_ok=True)
    shutil.copy(hub / "config.json", folder / "config.json")
    wrapped(model, root)


def wrapped(model, root):
    """The same model as training leaves it: compiled, its CLIP compiled once more, and spread over devices; and what LoRA
    saves of one."""
    folder = root / "wrapped"
    folder.mkdir()
    shutil.copy(root / "hub/config.json", folder / "config.json")
    model.clip = torch.compile(model.clip)
    state = torch.nn.DataParallel(torch.compile(model)).state_dict()
    assert "module._orig_mod.clip._orig_mod.logit_scale" in state
    torch.save(state, folder / "pytorch_model.bin")
    layer = "base_model.model.clip.text_model.encoder.layers.0.self_attn.q_proj"
    adapter = {f"{layer}.lora_A.weight": torch.ones(2, 24), f"{layer}.lora_B.weight": torch.zeros(24, 2)}
    torch.save(adapter, root / "adapter_model.bin")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    root = Path(__file__).resolve().parents[2] / "fixtures/convert"
    parser.add_argument("--out", type=Path, default=root, help="where to write [default: fixtures/convert]")
    root = parser.parse_args().out
    transformers.utils.logging.set_verbosity_error()
    torch.use_deterministic_algorithms(True)
    for name in ("published", "unusual", "hub", "hub-sharded", "wrapped"):
        shutil.rmtree(root / name, ignore_errors=True)
    published(root)
    unusual(root)
    files = [path for path in root.rglob("*") if path.is_file()]
    for path in files:
        path.chmod(0o644)
    size = sum(path.stat().st_size for path in files)
    print(f"  {len(files)} files, {size} bytes")
    if size >= SIZE_LIMIT:
        raise SystemExit(f"{root} holds {size} bytes, over {SIZE_LIMIT}")


if __name__ == "__main__":
    main()
