"""`clipseg-shapes` for training: pictures, masks, phrases and image prompts in batches."""

import multiprocessing
from dataclasses import dataclass

import numpy
import torch
from PIL import Image
from torch.nn.functional import one_hot

import shapes
from visual_prompt import visual_prompt

IMAGE_SIZE = 128
PATCH = 16
GRID = IMAGE_SIZE // PATCH
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
DEVIATION = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
TRAINING_SEED = 1
ATTRIBUTES = ["colour", "shape", "fill", "size"]
SEEN_PAIRS = [
    (colour, shape)
    for colour in range(len(shapes.COLOURS))
    for shape in range(len(shapes.SHAPES))
    if (colour, shape) not in shapes.HELD_OUT
]


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
        """Colour, shape, fill and size of what most of each patch shows, [4, 8, 8]; −1 where that is the background."""
        objects, side = self.objects[scene], shapes.SIZE // GRID
        labels = torch.from_numpy(self.labels[scene].astype(numpy.int64))
        labels = labels.view(GRID, side, GRID, side).transpose(1, 2).reshape(GRID, GRID, side * side)
        shares = one_hot(labels, len(objects) + 1)[..., 1:].float().mean(2)
        values = torch.tensor([[getattr(thing, name) for thing in objects] for name in ATTRIBUTES])
        largest = shares.max(2)
        return torch.where(largest.values > 0.25, values[:, largest.indices], -1)

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


def pictures(pool, seed, step, scenes):
    """`scenes` pictures, [scenes, 3, 128, 128], and what their patches show, [scenes, 4, 8, 8]."""
    pixels, attributes = [], []
    for row in range(scenes):
        draws = shapes.Draws(seed, step, row)
        scene, turn = draws.below(len(pool)), turned(draws)
        pixels.append(turn(pool.normalised(scene)))
        attributes.append(turn(pool.attributes(scene)))
    return torch.stack(pixels), torch.stack(attributes)


@dataclass
class Batch:
    pixels: torch.Tensor  # [scenes, 3, 128, 128]
    prompts: torch.Tensor  # [scenes, 3, 128, 128]
    phrases: list  # scenes × texts
    targets: torch.Tensor  # [scenes × (texts + 1), 128, 128]; each scene's image prompt comes after its phrases
    attributes: torch.Tensor  # [scenes, 4, 8, 8]
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
