"""Trains the model in `fixtures/models/clipseg-shapes` on `clipseg-shapes`, with transformers on the CPU.

One condition in four is an image prompt. The loss is binary cross-entropy plus Dice; the learning rate warms up and
decays by cosine. Everything is drawn from `--seed`; the time goes into the loss curve, never into the result.
"""

import argparse
import json
import math
import multiprocessing
import shutil
import time
from pathlib import Path

import numpy
import torch
from PIL import Image
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPTokenizer

import shapes
from visual_prompt import visual_prompt

ROOT = Path(__file__).resolve().parents[2]
TOKENIZER = ROOT / "fixtures/clip-tokenizer"
IMAGE_SIZE = 128
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
DEVIATION = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
TRAINING_SEED = 1

CONFIG = dict(
    projection_dim=64,
    reduce_dim=64,
    extract_layers=[1, 3, 5],
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
    num_hidden_layers=6,
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


def batch(pool, seed, step, scenes, texts):
    """`scenes` pictures with `texts` phrases and one image prompt each."""
    pixels, prompts, phrases, targets = [], [], [], []
    for row in range(scenes):
        draws = shapes.Draws(seed, step, row)
        scene = draws.below(len(pool))
        objects = pool.objects[scene]
        turn = turned(draws)
        pixels.append(turn(pool.normalised(scene)))
        for _ in range(texts):
            query = shapes.draw_text_query(draws, objects, "seen")
            phrases.append(query.text)
            targets.append(turn(pool.target(scene, query.members)))
        colour, shape = shapes.draw_image_pair(draws, objects, "seen")
        prompts.append(turned(draws)(pool.prompt_image(draws, (colour, shape))))
        members = shapes.matching(objects, dict(colour=colour, shape=shape))
        targets.append(turn(pool.target(scene, members)))
    return torch.stack(pixels), torch.stack(prompts), phrases, torch.stack(targets)


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
    torch.nn.init.normal_(model.clip.vision_model.embeddings.patch_embedding.weight, std=1 / math.sqrt(3 * 16 * 16))


def fresh_model(seed):
    torch.manual_seed(seed)
    model = CLIPSegForImageSegmentation(CLIPSegConfig(text_config=TEXT, vision_config=VISION, **CONFIG))
    initialise(model)
    return model


def logits_of(model, tokenizer, pixels, prompts, phrases):
    """Logits [scenes × (texts + 1), 128, 128]; each scene's image prompt comes after its phrases."""
    count, texts = len(pixels), len(phrases) // len(pixels)
    vision = model.clip.vision_model(torch.cat([pixels, prompts]), output_hidden_states=True)
    shown = model.clip.visual_projection(vision.pooler_output[count:])
    # Most phrases occur more than once in a batch; each is encoded once.
    distinct = sorted(set(phrases))
    tokens = tokenizer(distinct, padding=True, return_tensors="pt")
    said = model.clip.get_text_features(**tokens)
    said = said[torch.tensor([distinct.index(text) for text in phrases])]
    conditions = torch.cat([said.view(count, texts, -1), shown.unsqueeze(1)], dim=1).flatten(0, 1)
    activations = [
        vision.hidden_states[layer + 1][:count].repeat_interleave(texts + 1, dim=0)
        for layer in model.config.extract_layers
    ]
    return model.decoder(activations, conditions).logits.view(len(conditions), IMAGE_SIZE, IMAGE_SIZE)


def loss_of(logits, targets):
    """Binary cross-entropy + Dice; the constant lets an empty target be met by an empty answer."""
    cross_entropy = binary_cross_entropy_with_logits(logits, targets)
    probabilities = logits.sigmoid()
    smooth = 50.0
    shared = (probabilities * targets).sum((1, 2))
    total = probabilities.sum((1, 2)) + targets.sum((1, 2))
    dice = 1 - ((2 * shared + smooth) / (total + smooth)).mean()
    return cross_entropy, dice


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


def optimiser_of(model, arguments):
    """Weight decay for matrices and kernels, none for embeddings, biases and norms."""
    decayed, free = [], []
    for name, parameter in model.named_parameters():
        plain = parameter.ndim < 2 or "embedding" in name or name == "clip.logit_scale"
        (free if plain else decayed).append(parameter)
    groups = [dict(params=decayed, weight_decay=arguments.weight_decay), dict(params=free, weight_decay=0.0)]
    return torch.optim.AdamW(groups, lr=arguments.learning_rate, betas=(0.9, 0.98), fused=True)


def train(arguments):
    torch.set_num_threads(arguments.threads)
    started = time.time()
    pool = Pool(arguments.scenes, arguments.cache)
    print(f"{len(pool)} scenes after {time.time() - started:.0f} s", flush=True)
    tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
    model = fresh_model(arguments.seed).train()
    optimiser = optimiser_of(model, arguments)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate(step, arguments))
    arguments.out.mkdir(parents=True, exist_ok=True)
    curve, sums, first = [], torch.zeros(4), 0
    checkpoint = arguments.out / "training.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=False)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        curve, first = state["curve"], state["step"]
        started -= state["seconds"]
        print(f"goes on at step {first}", flush=True)
    for step in range(first, arguments.steps):
        pixels, prompts, phrases, targets = batch(pool, arguments.seed, step, arguments.batch, shapes.TEXT_PROMPTS)
        logits = logits_of(model, tokenizer, pixels, prompts, phrases)
        cross_entropy, dice = loss_of(logits, targets)
        optimiser.zero_grad()
        (cross_entropy + dice).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        iou = iou_of(logits.detach(), targets, shapes.TEXT_PROMPTS)
        sums += torch.tensor([cross_entropy.item(), dice.item(), *iou])
        if (step + 1) % 50 == 0:
            values = [round(value, 4) for value in (sums / 50).tolist()]
            keys = ["cross_entropy", "dice", "text_iou", "image_iou"]
            curve.append(dict(step=step + 1, seconds=round(time.time() - started), **dict(zip(keys, values))))
            print(json.dumps(curve[-1]), flush=True)
            sums.zero_()
        if (step + 1) % 500 == 0:
            state = dict(
                model=model.state_dict(),
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
    parser.add_argument("--scenes", type=int, default=20000)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--warm-up", type=int, default=300)
    parser.add_argument("--batch", type=int, default=16, help="scenes a step; each has three phrases and an image prompt")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
