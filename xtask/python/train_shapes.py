"""Trains the model in `fixtures/models/clipseg-shapes` on `clipseg-shapes`, with transformers on the CPU.

One condition in four is an image prompt. The masks' loss is binary cross-entropy plus Dice. CLIPSeg starts from a CLIP
that knows what it sees; this one starts from nothing, so two more losses teach the vision tower what there is to see
(without them it tells colours apart and never shapes): a linear probe, dropped afterwards, reads from every patch what
colours, shapes, fills and sizes it shows, and CLIP's contrast pulls an image prompt to the phrase for it. The learning
rate warms up and decays by cosine. Everything is drawn from `--seed`; the time goes into the loss curve, never into the
result.
"""

import argparse
import json
import math
import multiprocessing
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from PIL import Image
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPTokenizer

import shapes
from visual_prompt import visual_prompt

ROOT = Path(__file__).resolve().parents[2]
TOKENIZER = ROOT / "fixtures/clip-tokenizer"
IMAGE_SIZE = 128
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
DEVIATION = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
TRAINING_SEED = 1
GRID = IMAGE_SIZE // 16
ATTRIBUTES = ["colour", "shape", "fill", "size"]
SEEN_PAIRS = [
    (colour, shape)
    for colour in range(len(shapes.COLOURS))
    for shape in range(len(shapes.SHAPES))
    if (colour, shape) not in shapes.HELD_OUT
]

CONFIG = dict(
    projection_dim=64,
    reduce_dim=64,
    extract_layers=[1, 4, 7],
    decoder_num_attention_heads=4,
    decoder_intermediate_size=256,
    conditional_layer=0,
    use_complex_transposed_convolution=True,
)
TEXT = dict(
    hidden_size=64,
    intermediate_size=256,
    num_hidden_layers=2,
    num_attention_heads=4,
    vocab_size=49408,
    max_position_embeddings=77,
    bos_token_id=49406,
    eos_token_id=49407,
    pad_token_id=49407,
)
VISION = dict(
    hidden_size=128,
    intermediate_size=384,
    num_hidden_layers=8,
    num_attention_heads=4,
    image_size=IMAGE_SIZE,
    patch_size=16,
)


def small(pixels):
    """The picture in the model's size, as its image processor makes it."""
    return numpy.asarray(Image.fromarray(pixels).resize((IMAGE_SIZE, IMAGE_SIZE), Image.BILINEAR))


def one_scene(index):
    drawn = shapes.scene(TRAINING_SEED, index, pairs_allowed="seen")
    return small(drawn.pixels), drawn.labels, drawn.objects


class Pool:
    """The training scenes: pixels uint8 [N, 128, 128, 3], labels uint8 [N, 256, 256], and their objects."""

    def __init__(self, count, cache):
        if cache and cache.exists():
            self.pixels, self.labels, self.objects = torch.load(cache, weights_only=False)
        else:
            with multiprocessing.Pool() as workers:
                drawn = workers.map(one_scene, range(count), chunksize=64)
            self.pixels = numpy.stack([pixels for pixels, _, _ in drawn])
            self.labels = numpy.stack([labels for _, labels, _ in drawn])
            self.objects = [objects for _, _, objects in drawn]
            if cache:
                torch.save((self.pixels, self.labels, self.objects), cache, pickle_protocol=4)
        self.by_pair = {}
        for scene, objects in enumerate(self.objects):
            for number, thing in enumerate(objects):
                self.by_pair.setdefault(thing.pair, []).append((scene, number))

    def __len__(self):
        return len(self.objects)

    def normalised(self, scene):
        return (torch.from_numpy(self.pixels[scene]).permute(2, 0, 1).float() / 255 - MEAN) / DEVIATION

    def target(self, scene, members):
        """What share of each of the model's pixels shows one of the objects, [128, 128]."""
        wanted = numpy.zeros(256, dtype=numpy.uint8)
        wanted[[member + 1 for member in members]] = 1
        mask = wanted[self.labels[scene]]
        shares = mask[::2, ::2] + mask[1::2, ::2] + mask[::2, 1::2] + mask[1::2, 1::2]
        return torch.from_numpy(shares).float() / 4

    def attributes(self, scene):
        """What share of each patch shows each colour, shape, fill and size, [21, 8, 8]."""
        objects, labels = self.objects[scene], self.labels[scene].reshape(GRID, 32, GRID, 32)
        shares = [numpy.zeros((len(shapes.VALUES[name]), GRID, GRID), dtype=numpy.float32) for name in ATTRIBUTES]
        for number, thing in enumerate(objects):
            share = (labels == number + 1).mean((1, 3))
            for name, rows in zip(ATTRIBUTES, shares):
                rows[getattr(thing, name)] += share
        return torch.from_numpy(numpy.concatenate(shares))

    def prompt_image(self, draws, pair):
        """A picture that shows an object of this pair, of any training scene but cut out and dimmed around it."""
        scene, number = self.by_pair[pair][draws.below(len(self.by_pair[pair]))]
        mask = torch.from_numpy(self.labels[scene, 1::2, 1::2] == number + 1).float()
        return visual_prompt(self.normalised(scene), mask)


def turned(draws):
    """One of the eight symmetries of a square, so that a scene is seldom seen twice."""
    quarter, mirror = draws.below(4), draws.chance(50)

    def turn(tensor):
        tensor = torch.rot90(tensor, quarter, (-2, -1))
        return tensor.flip(-1) if mirror else tensor

    return turn


@dataclass
class Batch:
    pixels: torch.Tensor  # [scenes, 3, 128, 128]
    prompts: torch.Tensor  # [scenes, 3, 128, 128]
    phrases: list  # scenes × texts
    targets: torch.Tensor  # [scenes × (texts + 1), 128, 128]; each scene's image prompt comes after its phrases
    attributes: torch.Tensor  # [scenes, 21, 8, 8]
    pairs: torch.Tensor  # [scenes], what the image prompts show, as places in SEEN_PAIRS


def batch(pool, seed, step, scenes, texts):
    """`scenes` pictures with `texts` phrases and one image prompt each."""
    pixels, prompts, phrases, targets, attributes, pairs = [], [], [], [], [], []
    for row in range(scenes):
        draws = shapes.Draws(seed, step, row)
        scene = draws.below(len(pool))
        objects = pool.objects[scene]
        turn = turned(draws)
        pixels.append(turn(pool.normalised(scene)))
        attributes.append(turn(pool.attributes(scene)))
        for _ in range(texts):
            query = shapes.draw_text_query(draws, objects, "seen")
            phrases.append(query.text)
            targets.append(turn(pool.target(scene, query.members)))
        colour, shape = shapes.draw_image_pair(draws, objects, "seen")
        prompts.append(turned(draws)(pool.prompt_image(draws, (colour, shape))))
        pairs.append(SEEN_PAIRS.index((colour, shape)))
        members = shapes.matching(objects, dict(colour=colour, shape=shape))
        targets.append(turn(pool.target(scene, members)))
    return Batch(
        pixels=torch.stack(pixels),
        prompts=torch.stack(prompts),
        phrases=phrases,
        targets=torch.stack(targets),
        attributes=torch.stack(attributes),
        pairs=torch.tensor(pairs),
    )


def initialise(model):
    """A start from which the decoder trains: transformers' own leaves the upsampling's logits near ±200."""
    decoder = model.decoder
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
    torch.nn.init.ones_(decoder.film_mul.bias)
    embeddings = model.clip.vision_model.embeddings
    torch.nn.init.normal_(embeddings.patch_embedding.weight, std=1 / math.sqrt(3 * 16 * 16))
    embeddings.position_embedding.weight.data[1:] = 0.5 * positions(embeddings.embed_dim)


def positions(width):
    """Sines and cosines of a patch's row and column, [64, width], so that neighbours are told from the first step on."""
    row, column = torch.meshgrid(torch.arange(GRID), torch.arange(GRID), indexing="ij")
    rates = torch.arange(1, width // 4 + 1) / (width // 4) * math.pi / 2
    waves = [wave(place.reshape(-1, 1) * rates) for place in (row, column) for wave in (torch.sin, torch.cos)]
    return torch.cat(waves, dim=1)


def fresh_model(seed):
    torch.manual_seed(seed)
    model = CLIPSegForImageSegmentation(CLIPSegConfig(text_config=TEXT, vision_config=VISION, **CONFIG))
    initialise(model)
    return model


class Probe(torch.nn.Module):
    """Reads the attributes of every patch off the middle and the last of the layers that the decoder sees."""

    def __init__(self):
        super().__init__()
        outputs = sum(len(shapes.VALUES[name]) for name in ATTRIBUTES)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(VISION["hidden_size"], outputs) for _ in range(2))

    def loss(self, activations, attributes):
        target = attributes.flatten(2).transpose(1, 2)
        losses = [
            binary_cross_entropy_with_logits(layer(hidden_states[:, 1:]), target)
            for layer, hidden_states in zip(self.layers, activations[1:])
        ]
        return sum(losses) * target.shape[-1] / len(losses)


def forward(model, probe, tokenizer, given):
    """Logits [scenes × (texts + 1), 128, 128], the probe's loss and the contrast's."""
    count, texts = len(given.pixels), len(given.phrases) // len(given.pixels)
    vision = model.clip.vision_model(torch.cat([given.pixels, given.prompts]), output_hidden_states=True)
    activations = [vision.hidden_states[layer + 1][:count] for layer in model.config.extract_layers]
    shown = model.clip.visual_projection(vision.pooler_output[count:])
    # Most phrases occur more than once in a batch; each is encoded once.
    names = [f"a {shapes.COLOURS[colour]} {shapes.SHAPES[shape]}" for colour, shape in SEEN_PAIRS]
    distinct = names + sorted(set(given.phrases) - set(names))
    place = {text: index for index, text in enumerate(distinct)}
    said = model.clip.get_text_features(**tokenizer(distinct, padding=True, return_tensors="pt"))
    named = normalize(said[: len(names)], dim=-1)
    contrast = cross_entropy(model.clip.logit_scale.exp() * normalize(shown, dim=-1) @ named.T, given.pairs)
    said = said[torch.tensor([place[text] for text in given.phrases])]
    conditions = torch.cat([said.view(count, texts, -1), shown.unsqueeze(1)], dim=1).flatten(0, 1)
    logits = decode(model, activations, conditions, texts + 1)
    return logits, probe.loss(activations, given.attributes), contrast


def decode(model, activations, conditions, prompts):
    """`prompts` conditions for each picture."""
    activations = [hidden_states.repeat_interleave(prompts, dim=0) for hidden_states in activations]
    return model.decoder(activations, conditions).logits.view(len(conditions), IMAGE_SIZE, IMAGE_SIZE)


def loss_of(logits, targets):
    """Binary cross-entropy and Dice; the constant lets an empty target be met by an empty answer."""
    entropy = binary_cross_entropy_with_logits(logits, targets)
    probabilities = logits.sigmoid()
    smooth = 50.0
    shared = (probabilities * targets).sum((1, 2))
    total = probabilities.sum((1, 2)) + targets.sum((1, 2))
    dice = 1 - ((2 * shared + smooth) / (total + smooth)).mean()
    return entropy, dice


def iou_of(logits, targets, texts):
    """Foreground IoU at 0.5, of phrases and of image prompts."""
    found, wanted = logits > 0, targets > 0.5
    both, either = (found & wanted).sum((1, 2)), (found | wanted).sum((1, 2))
    both, either = both.view(-1, texts + 1), either.view(-1, texts + 1)
    return [
        round((part.sum() / whole.sum().clamp(min=1)).item(), 4)
        for part, whole in [(both[:, :texts], either[:, :texts]), (both[:, texts], either[:, texts])]
    ]


def rate(step, arguments):
    """Linear warm-up, then a cosine down to zero."""
    if step < arguments.warm_up:
        return (step + 1) / arguments.warm_up
    progress = (step - arguments.warm_up) / max(1, arguments.steps - arguments.warm_up)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def optimiser_of(model, probe, arguments):
    """Weight decay for matrices and kernels, none for embeddings, biases and norms."""
    decayed, free = [], []
    for name, parameter in model.named_parameters():
        plain = parameter.ndim < 2 or "embedding" in name or name == "clip.logit_scale"
        (free if plain else decayed).append(parameter)
    free += probe.parameters()
    groups = [dict(params=decayed, weight_decay=arguments.weight_decay), dict(params=free, weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=arguments.learning_rate, betas=(0.9, 0.98), fused=True)


def train(arguments):
    torch.set_num_threads(arguments.threads)
    started = time.time()
    pool = Pool(arguments.scenes, arguments.cache)
    print(f"{len(pool)} scenes after {time.time() - started:.0f} s", flush=True)
    tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
    model = fresh_model(arguments.seed).train()
    probe = Probe()
    optimiser = optimiser_of(model, probe, arguments)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate(step, arguments))
    arguments.out.mkdir(parents=True, exist_ok=True)
    curve, sums, first = [], torch.zeros(6), 0
    checkpoint = arguments.out / "training.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        model.load_state_dict(state["model"])
        probe.load_state_dict(state["probe"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        curve, first = state["curve"], state["step"]
        started -= state["seconds"]
        print(f"goes on at step {first}", flush=True)
    for step in range(first, arguments.steps):
        given = batch(pool, arguments.seed, step, arguments.batch, shapes.TEXT_PROMPTS)
        # Products in bf16, sums, losses and weights in f32: a quarter less time, the same curve.
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, probed, contrast = forward(model, probe, tokenizer, given)
        logits = logits.float()
        entropy, dice = loss_of(logits, given.targets)
        optimiser.zero_grad()
        (entropy + dice + 0.5 * probed + 0.1 * contrast).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        iou = iou_of(logits.detach(), given.targets, shapes.TEXT_PROMPTS)
        sums += torch.tensor([part.item() for part in (entropy, dice, probed, contrast)] + iou)
        if (step + 1) % 50 == 0:
            values = [round(value, 4) for value in (sums / 50).tolist()]
            keys = ["cross_entropy", "dice", "probe", "contrast", "text_iou", "image_iou"]
            curve.append(dict(step=step + 1, seconds=round(time.time() - started), **dict(zip(keys, values))))
            print(json.dumps(curve[-1]), flush=True)
            sums.zero_()
        if (step + 1) % 500 == 0:
            state = dict(
                model=model.state_dict(),
                probe=probe.state_dict(),
                optimiser=optimiser.state_dict(),
                schedule=schedule.state_dict(),
                curve=curve,
                step=step + 1,
                seconds=time.time() - started,
            )
            torch.save(state, checkpoint)
    export(model.eval(), arguments.out)
    (arguments.out / "loss-curve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in curve))


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the checkpoint goes; a stopped run goes on from it")
    parser.add_argument("--cache", type=Path, help="keeps the drawn scenes for the next run")
    parser.add_argument("--scenes", type=int, default=32000)
    parser.add_argument("--steps", type=int, default=16000)
    parser.add_argument("--warm-up", type=int, default=500)
    parser.add_argument("--batch", type=int, default=16, help="scenes a step; each has three phrases and an image prompt")
    parser.add_argument("--learning-rate", type=float, default=1.5e-3)
    parser.add_argument("--weight-decay", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
