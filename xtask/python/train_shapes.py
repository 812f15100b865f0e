"""Trains the model in `fixtures/models/clipseg-shapes` on `clipseg-shapes`, with transformers on the CPU.

CLIPSeg starts from a CLIP that knows what it sees; this one starts from nothing, and a decoder alone teaches the vision
tower to tell colours apart and never shapes. So it learns in two stages. First to see: linear probes, dropped
afterwards, read from the patches what colour, shape, fill and size they show; without decoder and text a step is cheap,
and shapes need many. Then to segment: the masks' binary cross-entropy plus Dice, on three phrases and one image prompt a
scene, the probes going on, and CLIP's contrast, which pulls an image prompt to the phrase for it. In each stage the
learning rate warms up and decays by cosine. Everything is drawn from `--seed`.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, normalize
from transformers import CLIPTokenizer

import shapes
from shapes_data import ATTRIBUTES, IMAGE_SIZE, SEEN_PAIRS, Pool, batch, pictures
from shapes_model import TOKENIZER, VISION, export, fresh_model

PROBE_WEIGHT, CONTRAST_WEIGHT = 0.1, 0.1  # beside the masks' losses
# The vision tower's learning rate in the second stage, as a share of the others': at the full rate the gradients of a
# decoder that knows nothing yet undo what it has learnt (from 85 % of the shapes to 61 % within 300 steps).
VISION_SHARE = 0.2


class Probe(torch.nn.Module):
    """Reads the attributes of every patch off each of the layers that the decoder sees."""

    def __init__(self, layers):
        super().__init__()
        self.sizes = [len(shapes.VALUES[name]) for name in ATTRIBUTES]
        self.layers = torch.nn.ModuleList(torch.nn.Linear(VISION["hidden_size"], sum(self.sizes)) for _ in range(layers))

    def forward(self, activations, attributes):
        """The loss, and how often the last layer tells the shape."""
        shown = attributes.flatten(2).transpose(0, 1)  # [4, scenes, patches]
        visible = shown[0] >= 0
        loss = 0.0
        for layer, hidden_states in zip(self.layers, activations):
            logits = layer(hidden_states[:, 1:][visible]).float().split(self.sizes, dim=1)
            loss = loss + sum(cross_entropy(part, value[visible]) for part, value in zip(logits, shown))
        place = ATTRIBUTES.index("shape")
        return loss, (logits[place].argmax(1) == shown[place][visible]).float().mean()


def look(model, pixels):
    """The vision tower's output, and the activations that the decoder sees of it."""
    vision = model.clip.vision_model(pixels, output_hidden_states=True)
    return vision, [vision.hidden_states[layer + 1] for layer in model.config.extract_layers]


def forward(model, tokenizer, given):
    """Logits [scenes × (texts + 1), 128, 128], the activations, and the contrast's loss."""
    count, texts = len(given.pixels), len(given.phrases) // len(given.pixels)
    vision, activations = look(model, torch.cat([given.pixels, given.prompts]))
    activations = [hidden_states[:count] for hidden_states in activations]
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
    repeated = [hidden_states.repeat_interleave(texts + 1, dim=0) for hidden_states in activations]
    logits = model.decoder(repeated, conditions).logits.view(len(conditions), IMAGE_SIZE, IMAGE_SIZE)
    return logits, activations, contrast


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
        part.sum() / whole.sum().clamp(min=1)
        for part, whole in [(both[:, :texts], either[:, :texts]), (both[:, texts], either[:, texts])]
    ]


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
        self.optimiser = self.fresh_optimiser()
        self.curve, self.step = [], 0

    def fresh_optimiser(self):
        """Weight decay for matrices and kernels, none for embeddings, biases and norms."""
        groups = []
        for is_vision in (True, False):
            named = [
                (name, parameter)
                for name, parameter in self.model.named_parameters()
                if ("vision" in name) == is_vision
            ]
            plain = [
                parameter
                for name, parameter in named
                if parameter.ndim < 2 or "embedding" in name or name == "clip.logit_scale"
            ]
            kept = set(map(id, plain))
            decayed = [parameter for _, parameter in named if id(parameter) not in kept]
            if not is_vision:
                plain += self.probe.parameters()
            groups.append(dict(params=decayed, weight_decay=0.02, is_vision=is_vision))
            groups.append(dict(params=plain, weight_decay=0.0, is_vision=is_vision))
        return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)

    def rate(self, is_vision):
        """Linear warm-up, then a cosine down to zero, in each of the stages."""
        see, segment = self.arguments.see_steps, self.arguments.segment_steps
        step, steps = (self.step, see) if self.step < see else (self.step - see, segment)
        share = VISION_SHARE if is_vision and self.step >= see else 1.0
        warm = min(1.0, (step + 1) / self.arguments.warm_up)
        return self.arguments.learning_rate * share * warm * 0.5 * (1 + math.cos(math.pi * step / steps))

    def see(self):
        """A step of the first stage: its losses."""
        pixels, attributes = pictures(self.pool, self.arguments.seed, self.step, 32)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            probed, told = self.probe(look(self.model, pixels)[1], attributes)
        return probed, dict(probe=probed, shape_accuracy=told)

    def segment(self):
        """A step of the second stage: its losses."""
        given = batch(self.pool, self.arguments.seed, self.step, 16, shapes.TEXT_PROMPTS)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, activations, contrast = forward(self.model, self.tokenizer, given)
            probed, told = self.probe(activations, given.attributes)
        logits = logits.float()
        entropy, dice = loss_of(logits, given.targets)
        text, image = iou_of(logits.detach(), given.targets, shapes.TEXT_PROMPTS)
        loss = entropy + dice + PROBE_WEIGHT * probed + CONTRAST_WEIGHT * contrast
        values = dict(cross_entropy=entropy, dice=dice, probe=probed, contrast=contrast, shape_accuracy=told)
        return loss, dict(**values, text_iou=text, image_iou=image)

    def run(self):
        see, segment = self.arguments.see_steps, self.arguments.segment_steps
        sums, counted = {}, 0
        while self.step < see + segment:
            if self.step == see:
                # The gradients' scale is another from here on.
                self.optimiser = self.fresh_optimiser()
            loss, values = self.see() if self.step < see else self.segment()
            for group in self.optimiser.param_groups:
                group["lr"] = self.rate(group["is_vision"])
            self.optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimiser.step()
            self.step += 1
            sums = {name: sums.get(name, 0.0) + value.item() for name, value in values.items()}
            counted += 1
            if self.step % 100 == 0 or self.step == see:
                means = {name: round(value / counted, 4) for name, value in sums.items()}
                self.curve.append(dict(step=self.step, seconds=round(time.time() - self.started), **means))
                print(json.dumps(self.curve[-1]), flush=True)
                sums, counted = {}, 0
            if self.step % 500 == 0:
                self.save()

    def save(self):
        """Everything that a stopped run goes on from."""
        parts = {name: getattr(self, name).state_dict() for name in ("model", "probe", "optimiser")}
        state = dict(**parts, curve=self.curve, step=self.step, seconds=time.time() - self.started)
        path = self.arguments.out / "training.pt"
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def resume(self):
        path = self.arguments.out / "training.pt"
        if path.exists():
            state = torch.load(path, weights_only=False)
            for name in ("model", "probe", "optimiser"):
                getattr(self, name).load_state_dict(state[name])
            self.curve, self.step = state["curve"], state["step"]
            self.started = time.time() - state["seconds"]
            print(f"goes on at step {self.step}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="where the checkpoint goes; a stopped run goes on from it")
    parser.add_argument("--cache", type=Path, help="keeps the drawn scenes for the next run")
    parser.add_argument("--scenes", type=int, default=32000)
    parser.add_argument("--see-steps", type=int, default=7500, help="of the vision tower alone, 32 scenes each")
    parser.add_argument("--segment-steps", type=int, default=6500, help="of the whole model, 16 scenes each")
    parser.add_argument("--warm-up", type=int, default=200)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
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
