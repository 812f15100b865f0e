"""Trains the model in `fixtures/models/clipseg-shapes` on `clipseg-shapes`, with transformers on the CPU.

CLIPSeg starts from a CLIP that knows what it sees; this one starts from nothing, and a decoder alone teaches the vision
tower to tell colours apart and never shapes. So it learns in three stages, in each of which the learning rate warms up and
decays by cosine:

1. To see. Linear probes, dropped afterwards, read off every patch the colour, shape, fill and size of what it shows, and
   what leads there: the outlines within the patch, and where the object's centre is. Some pictures are grey, so that shapes
   are told apart without colours.
2. To segment: the masks' binary cross-entropy plus Dice; the probes go on. Conditions are sums of learnt vectors, one for
   each attribute that is asked for, and image prompts learn to give the sum for what they show. So what is learnt of "red"
   and of "star" holds for a red star, which no picture of the training shows.
3. To read: the text tower learns the sum for each phrase.

Everything is drawn from `--seed`.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss, smooth_l1_loss
from transformers import CLIPTokenizer

import shapes
from shapes_data import ATTRIBUTES, CELLS, IMAGE_SIZE, IS_HELD_OUT, Pool, batch, phrases, pictures
from shapes_model import CONFIG, TOKENIZER, VISION, export, fresh_model

PROBE_WEIGHT, PROMPT_WEIGHT = 1.0, 0.3  # beside the masks' losses
# The vision tower's learning rate in the second stage, as a share of the others': at the full rate the gradients of a
# decoder that knows nothing yet undo what it has learnt.
VISION_SHARE = 0.05
GREY_PERCENT = 30
SIZES = [len(shapes.VALUES[name]) for name in ATTRIBUTES]


class Probe(torch.nn.Module):
    """Reads what every patch shows off each of the layers that the decoder sees."""

    PARTS = [*SIZES, CELLS**2, 3]

    def __init__(self, layers):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(VISION["hidden_size"], sum(self.PARTS)) for _ in range(layers))

    def forward(self, activations, patches):
        """The loss, and how often the last layer tells each attribute."""
        shown = patches.flatten(2).transpose(0, 1)  # [23, scenes, patches]
        visible = shown[ATTRIBUTES.index("shape")] >= 0
        attributes, cells, geometry = shown[:, visible].split([len(SIZES), CELLS**2, 3])
        attributes = attributes.long()
        loss = 0.0
        for layer, hidden_states in zip(self.layers, activations):
            *logits, outlines, places = layer(hidden_states[:, 1:][visible]).float().split(self.PARTS, dim=1)
            logits = [part.masked_fill(closed, -torch.inf) for part, closed in zip(logits, self.closed(attributes))]
            loss = loss + sum(cross_entropy(part, value, ignore_index=-1) for part, value in zip(logits, attributes))
            loss = loss + 2 * binary_cross_entropy_with_logits(outlines, cells.T) + smooth_l1_loss(places, geometry.T)
        told = [(part.argmax(1) == value)[value >= 0].float().mean() for part, value in zip(logits, attributes)]
        return loss, dict(zip(ATTRIBUTES, told))

    def closed(self, attributes):
        """The values that are left out of a patch's loss: those that would make a held-out pair with its
        colour or its shape. As no such pair is ever shown, "red, so no star" would be learnt otherwise."""
        colour, shape, *_ = attributes
        of_shape = IS_HELD_OUT[colour.clamp(min=0)] & (colour >= 0)[:, None]
        return [IS_HELD_OUT.T[shape], of_shape, *(torch.tensor(False) for _ in SIZES[2:])]


class Sums(torch.nn.Module):
    """Conditions made of learnt vectors: one per value of each attribute, and one for all."""

    def __init__(self):
        super().__init__()
        self.common = torch.nn.Parameter(torch.zeros(CONFIG["projection_dim"]))
        self.values = torch.nn.ModuleList(torch.nn.Embedding(size, CONFIG["projection_dim"]) for size in SIZES)

    def forward(self, attributes):
        """`attributes` [N, 4] are indices, −1 where they are not asked for; gives [N, projection_dim]."""
        parts = [values(column.clamp(min=0)) * (column >= 0)[:, None] for values, column in zip(self.values, attributes.T)]
        return self.common + sum(parts)


def look(model, pixels):
    """The vision tower's output, and the activations that the decoder sees of it."""
    vision = model.clip.vision_model(pixels, output_hidden_states=True)
    return vision, [vision.hidden_states[layer + 1] for layer in model.config.extract_layers]


def loss_of(logits, targets, weights):
    """Binary cross-entropy and Dice; the constant lets an empty target be met by an empty answer."""
    entropy = binary_cross_entropy_with_logits(logits, targets, weights)
    probabilities = logits.sigmoid() * weights
    smooth = 50.0
    shared = (probabilities * targets).sum((1, 2))
    total = probabilities.sum((1, 2)) + targets.sum((1, 2))
    dice = 1 - ((2 * shared + smooth) / (total + smooth)).mean()
    return entropy, dice


def iou_of(logits, targets):
    """Foreground IoU at 0.5."""
    found, wanted = logits > 0, targets > 0.5
    return (found & wanted).sum() / (found | wanted).sum().clamp(min=1)


class Training:
    def __init__(self, arguments):
        self.arguments = arguments
        self.started = time.time()
        self.pool = Pool(arguments.scenes, arguments.cache)
        print(f"{len(self.pool)} scenes after {time.time() - self.started:.0f} s", flush=True)
        self.tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
        some = torch.stack([self.pool.normalised(scene) for scene in range(min(600, len(self.pool)))])
        self.model = fresh_model(arguments.seed, some).train()
        self.probe = Probe(len(self.model.config.extract_layers))
        self.sums = Sums()
        self.curve, self.step = [], 0
        # A stage's name, its steps, what a step does, and what learns in it, each with its share of the learning rate.
        clip = self.model.clip
        vision = [(module, VISION_SHARE) for module in (clip.vision_model, self.probe)]
        fresh = [(module, 1.0) for module in (self.model.decoder, clip.visual_projection, self.sums)]
        self.stages = [
            ("see", arguments.see_steps, self.see, [(clip.vision_model, 1.0), (self.probe, 1.0)]),
            ("segment", arguments.segment_steps, self.segment, vision + fresh),
            ("read", arguments.read_steps, self.read, [(clip.text_model, 1.0), (clip.text_projection, 1.0)]),
        ]

    def optimisers(self, modules):
        """Muon for the layers' matrices, which learns shapes in a third of AdamW's steps; AdamW for all else."""
        matrices, others = [], []
        for module, share in modules:
            for name, parameter in module.named_parameters():
                is_matrix = parameter.ndim == 2 and "layers" in name and not isinstance(module, Probe)
                (matrices if is_matrix else others).append(dict(params=[parameter], share=share))
        rates = self.arguments
        return [
            torch.optim.Muon(matrices, lr=rates.matrix_rate, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(others, lr=rates.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
        ]

    def see(self, step):
        pixels, patches = pictures(self.pool, self.arguments.seed, step, 32, GREY_PERCENT)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss, told = self.probe(look(self.model, pixels)[1], patches)
        return loss, dict(probe=loss, **told)

    def segment(self, step):
        given = batch(self.pool, self.arguments.seed, step, 16, 4, 8, GREY_PERCENT)
        scenes, prompts = len(given.pixels), len(given.prompts)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            vision, activations = look(self.model, torch.cat([given.pixels, given.prompts]))
            activations = [hidden_states[:scenes] for hidden_states in activations]
            probed, told = self.probe(activations, given.patches)
            shown = self.model.clip.visual_projection(vision.pooler_output[scenes:]).float()
            sums = self.sums(given.attributes)
            conditions = torch.cat([sums[:-prompts], shown])
            asked = [hidden_states[given.scenes] for hidden_states in activations]
            logits = self.model.decoder(asked, conditions).logits.view(-1, IMAGE_SIZE, IMAGE_SIZE).float()
        entropy, dice = loss_of(logits, given.targets, given.weights)
        wanted = sums[-prompts:].detach()
        prompt = mse_loss(shown, wanted) / wanted.var().clamp(min=1e-3)
        loss = entropy + dice + PROBE_WEIGHT * probed + PROMPT_WEIGHT * prompt
        values = dict(cross_entropy=entropy, dice=dice, probe=probed, prompt=prompt, **told)
        values["text_iou"] = iou_of(logits[:-prompts], given.targets[:-prompts])
        values["image_iou"] = iou_of(logits[-prompts:], given.targets[-prompts:])
        return loss, values

    def read(self, step):
        texts, attributes = phrases(self.arguments.seed, step, 256)
        said = self.model.clip.get_text_features(**self.tokenizer(texts, padding=True, return_tensors="pt"))
        wanted = self.sums(attributes).detach()
        loss = mse_loss(said, wanted) / wanted.var()
        return loss, dict(phrase=loss)

    def run(self):
        done = 0
        for name, steps, take, modules in self.stages:
            if self.step < done + steps:
                self.learn(name, done, steps, take, modules)
            done += steps

    def learn(self, name, before, steps, take, modules):
        optimisers = self.optimisers(modules)
        parameters = [parameter for module, _ in modules for parameter in module.parameters()]
        sums, counted = {}, 0
        while self.step < before + steps:
            step = self.step - before
            decay = min(1.0, (step + 1) / self.arguments.warm_up) * 0.5 * (1 + math.cos(math.pi * step / steps))
            for optimiser in optimisers:
                optimiser.zero_grad()
                for group in optimiser.param_groups:
                    group["lr"] = optimiser.defaults["lr"] * group["share"] * decay
            loss, values = take(self.step)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            for optimiser in optimisers:
                optimiser.step()
            self.step += 1
            sums = {key: sums.get(key, 0.0) + value.item() for key, value in values.items()}
            counted += 1
            if self.step % 100 == 0 or step + 1 == steps:
                means = {key: round(value / counted, 4) for key, value in sums.items()}
                self.curve.append(dict(stage=name, step=self.step, seconds=round(time.time() - self.started), **means))
                print(json.dumps(self.curve[-1]), flush=True)
                sums, counted = {}, 0
        self.save()

    def save(self):
        """Saves everything from which a run that was stopped after a stage goes on."""
        parts = {name: getattr(self, name).state_dict() for name in ("model", "probe", "sums")}
        state = dict(**parts, curve=self.curve, step=self.step, seconds=time.time() - self.started)
        path = self.arguments.out / "training.pt"
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def resume(self):
        path = self.arguments.out / "training.pt"
        if path.exists():
            state = torch.load(path, weights_only=False)
            for name in ("model", "probe", "sums"):
                getattr(self, name).load_state_dict(state[name])
            self.curve, self.step = state["curve"], state["step"]
            self.started = time.time() - state["seconds"]
            print(f"goes on at step {self.step}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the checkpoint goes; a stopped run goes on from its last whole stage")
    parser.add_argument("--cache", type=Path, help="keeps the drawn scenes for the next run")
    parser.add_argument("--scenes", type=int, default=32000)
    parser.add_argument("--see-steps", type=int, default=6000, help="of the vision tower alone, 32 scenes each")
    parser.add_argument("--segment-steps", type=int, default=4500, help="of vision tower and decoder, 16 scenes each")
    parser.add_argument("--read-steps", type=int, default=3000, help="of the text tower, 256 phrases each")
    parser.add_argument("--warm-up", type=int, default=100)
    parser.add_argument("--matrix-rate", type=float, default=8e-3, help="the layers' matrices' highest learning rate")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="that of all else")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    training = Training(arguments)
    training.resume()
    training.run()
    (arguments.out / "loss-curve.jsonl").write_text("".join(json.dumps(row) + "\n" for row in training.curve))
    export(training.model.eval(), arguments.out)


if __name__ == "__main__":
    main()
