"""Scores a checkpoint on `clipseg-shapes` with transformers, as `clipseg eval --data shapes:SEED:COUNT` does with the engine.

Logits are interpolated to the scene's size, a pixel is marked where its probability reaches the threshold, and true and
false pixels are summed over the data set before dividing. The thresholds, one for phrases and one for image prompts, are
the best on other scenes.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy
import torch
from PIL import Image
from torch.nn.functional import interpolate
from transformers import CLIPSegForImageSegmentation, CLIPTokenizer, ViTImageProcessor

import shapes
from visual_prompt import visual_prompt

THRESHOLDS = 100  # hundredths


class Scorer:
    def __init__(self, model, tokenizer, processor):
        self.model, self.tokenizer, self.processor = model.eval(), tokenizer, processor

    def pixels(self, picture):
        return self.processor(Image.fromarray(picture), return_tensors="pt")["pixel_values"]

    def condition(self, query):
        if query.kind != "image":
            tokens = self.tokenizer(query.text, return_tensors="pt")
            return self.model.clip.get_text_features(**tokens)
        pixels = self.pixels(query.support.pixels)[0]
        size = pixels.shape[-1]
        mask = Image.fromarray(query.support.mask([0]).astype(numpy.uint8)).resize((size, size), Image.NEAREST)
        return self.model.clip.get_image_features(visual_prompt(pixels, torch.from_numpy(numpy.array(mask)).float())[None])

    @torch.no_grad()
    def histograms(self, seed, index):
        """For each prompt of a scene: the query, and counts [2, 101] of unwanted and wanted pixels by the number of
        thresholds that their probability reaches."""
        scene = shapes.scene(seed, index)
        queries = shapes.queries(seed, index, scene)
        conditions = torch.cat([self.condition(query) for query in queries])
        vision = self.model.clip.vision_model(self.pixels(scene.pixels), output_hidden_states=True)
        activations = [
            vision.hidden_states[layer + 1].expand(len(queries), -1, -1) for layer in self.model.config.extract_layers
        ]
        logits = self.model.decoder(activations, conditions).logits.view(len(queries), 1, *[self.model.config.vision_config.image_size] * 2)
        probabilities = interpolate(logits, (shapes.SIZE, shapes.SIZE), mode="bilinear", align_corners=False).sigmoid()
        reached = numpy.searchsorted(LEVELS, probabilities[:, 0].numpy().ravel(), side="right").reshape(len(queries), -1)
        for query, row in zip(queries, reached):
            wanted = scene.mask(query.members).ravel().astype(numpy.int64)
            counts = numpy.bincount(row + (THRESHOLDS + 1) * wanted, minlength=2 * (THRESHOLDS + 1))
            yield query, counts.reshape(2, THRESHOLDS + 1)


LEVELS = (numpy.arange(1, THRESHOLDS + 1) / THRESHOLDS).astype(numpy.float32)


def at_least(counts):
    """Counts [2, 101] to the pixels that reach each threshold 0.00, 0.01, …"""
    return counts[:, ::-1].cumsum(1)[:, ::-1]


def ious(counts):
    marked = at_least(counts)
    return marked[1] / numpy.maximum(1, marked[0] + counts[1].sum())


def group_of(query):
    if not query.members:
        return "image, absent" if query.kind == "image" else "text, absent"
    return f"{'image' if query.kind == 'image' else 'text'}, {'unseen pairs' if query.held_out else 'seen pairs'}"


def collect(scorer, seed, count):
    groups = defaultdict(lambda: numpy.zeros((2, THRESHOLDS + 1), dtype=numpy.int64))
    for index in range(count):
        for query, counts in scorer.histograms(seed, index):
            groups[group_of(query)] += counts
            if query.kind != "image" and query.members:
                groups[f"kind: {query.kind}"] += counts
    return groups


def best_threshold(groups, kind):
    return int(ious(groups[f"{kind}, seen pairs"] + groups[f"{kind}, unseen pairs"]).argmax())


def scores(groups, thresholds):
    result = {}
    for group, counts in sorted(groups.items()):
        threshold = thresholds["image" if group.startswith("image") else "text"]
        if group.endswith("absent"):
            result[group] = dict(falsely_marked=at_least(counts)[0, threshold] / counts[0].sum())
        else:
            result[group] = dict(foreground_iou=ious(counts)[threshold], best=ious(counts).max())
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--tune-seed", type=int, default=2)
    parser.add_argument("--tune-count", type=int, default=200)
    parser.add_argument("--out", type=Path, help="a JSON file for the scores; they are printed in any case")
    arguments = parser.parse_args()
    model = CLIPSegForImageSegmentation.from_pretrained(arguments.model, torch_dtype=torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(arguments.model)
    scorer = Scorer(model, tokenizer, ViTImageProcessor.from_pretrained(arguments.model))
    tuned = collect(scorer, arguments.tune_seed, arguments.tune_count)
    thresholds = {kind: best_threshold(tuned, kind) for kind in ("text", "image")}
    result = scores(collect(scorer, arguments.seed, arguments.count), thresholds)
    text = json.dumps(dict(thresholds=thresholds, **result), indent=2) + "\n"
    print(text, end="")
    if arguments.out:
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
