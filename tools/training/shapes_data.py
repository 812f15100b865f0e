"""`clipseg-shapes` for training: pictures, masks, prompts and what each patch shows, in batches."""

import multiprocessing
from dataclasses import dataclass

import numpy
import torch
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d

import shapes
from visual_prompt import visual_prompt

IMAGE_SIZE = 128
PATCH = 16
GRID = IMAGE_SIZE // PATCH
CELLS = 4  # a patch's outlines are told by the shares of CELLS × CELLS squares of it that the object covers
MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
DEVIATION = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]
TRAINING_SEED = 1
ATTRIBUTES = ["colour", "shape", "fill", "size"]
# [colours, shapes], whether a pair is held out.
IS_HELD_OUT = torch.tensor(
    [[(colour, shape) in shapes.HELD_OUT for shape in range(len(shapes.SHAPES))] for colour in range(len(shapes.COLOURS))]
)


def small(pixels):
    """The picture in the model's size, as its image processor makes it."""
    return numpy.asarray(Image.fromarray(pixels).resize((IMAGE_SIZE, IMAGE_SIZE), Image.BILINEAR))


def patches_of(labels, objects):
    """What most of each patch shows, f16 [4 + 16 + 3, GRID, GRID]: the object's attributes, −1 where that is the background;
    which of the patch's cells it covers; and how far right and below its centre is, and its radius."""
    masks = torch.stack([torch.from_numpy(labels == number + 1) for number in range(len(objects))]).float()
    main = adaptive_avg_pool2d(masks, GRID).max(0)
    attributes = torch.tensor([[getattr(thing, name) for thing in objects] for name in ATTRIBUTES])
    attributes = torch.where(main.values > 0.25, attributes[:, main.indices], -1)
    cells = adaptive_avg_pool2d(masks, GRID * CELLS).view(-1, GRID, CELLS, GRID, CELLS).permute(0, 2, 4, 1, 3)
    cells = torch.einsum("nijrc,nrc->ijrc", cells, (torch.arange(len(objects))[:, None, None] == main.indices).float())
    middle = (torch.arange(GRID) + 0.5) * shapes.SIZE / GRID
    columns, rows, radii = torch.tensor([[*thing.centre, thing.radius] for thing in objects]).float().T[:, main.indices]
    geometry = torch.stack([(columns - middle) / 32, (rows - middle[:, None]) / 32, (radii - 60) / 20])
    return torch.cat([attributes, cells.flatten(0, 1), geometry]).half().numpy()


def one_scene(index):
    torch.set_num_threads(1)
    drawn = shapes.scene(TRAINING_SEED, index, pairs_allowed="seen")
    return small(drawn.pixels), drawn.labels, drawn.objects, patches_of(drawn.labels, drawn.objects)


class Pool:
    """The training scenes: pixels uint8 [N, S, S, 3], labels uint8 [N, 256, 256], their objects, and `patches_of` them."""

    def __init__(self, count, cache):
        if cache and cache.exists():
            self.pixels, self.labels, self.objects, self.patches = torch.load(cache, weights_only=False)
        else:
            with multiprocessing.Pool() as workers:
                drawn = list(zip(*workers.map(one_scene, range(count), chunksize=64)))
            self.pixels, self.labels, self.patches = (numpy.stack(drawn[part]) for part in (0, 1, 3))
            self.objects = drawn[2]
            if cache:
                torch.save((self.pixels, self.labels, self.objects, self.patches), cache, pickle_protocol=4)
        self.by_pair = {}
        for scene, objects in enumerate(self.objects):
            for number, thing in enumerate(objects):
                self.by_pair.setdefault(thing.pair, []).append((scene, number))

    def __len__(self):
        return len(self.objects)

    def normalised(self, scene, is_grey=False):
        pixels = torch.from_numpy(self.pixels[scene]).permute(2, 0, 1).float() / 255
        if is_grey:
            pixels = (pixels * LUMA).sum(0, keepdim=True)
        return (pixels - MEAN) / DEVIATION

    def target(self, scene, members):
        """What share of each of the model's pixels shows one of the objects, [S, S]."""
        wanted = numpy.zeros(256, dtype=numpy.float32)
        wanted[[member + 1 for member in members]] = 1
        return adaptive_avg_pool2d(torch.from_numpy(wanted[self.labels[scene]])[None], IMAGE_SIZE)[0]

    def prompt_image(self, draws, pair):
        """A picture that shows an object of this pair, of any training scene but cut out and dimmed around it."""
        scene, number = self.by_pair[pair][draws.below(len(self.by_pair[pair]))]
        places = (2 * numpy.arange(IMAGE_SIZE) + 1) * shapes.SIZE // (2 * IMAGE_SIZE)
        mask = torch.from_numpy(self.labels[scene][places][:, places] == number + 1).float()
        return visual_prompt(self.normalised(scene), mask)


class Turn:
    """One of the eight symmetries of a square, so that a scene is seldom seen twice."""

    def __init__(self, draws):
        self.quarters, self.is_mirrored = draws.below(4), draws.chance(50)

    def picture(self, planes):
        """Turns anything whose last two dimensions are rows and columns."""
        planes = torch.rot90(planes, self.quarters, (-2, -1))
        return planes.flip(-1) if self.is_mirrored else planes

    def patches(self, shown):
        """Turns what `patches_of` gives, where the cells and the way to the centre turn too."""
        attributes, cells, (right, down, radius) = shown.split([4, CELLS**2, 3])
        cells = self.picture(cells.unflatten(0, (CELLS, CELLS)).permute(2, 3, 0, 1)).permute(2, 3, 0, 1).flatten(0, 1)
        for _ in range(self.quarters):
            right, down = down, -right
        if self.is_mirrored:
            right = -right
        return self.picture(torch.cat([attributes, cells, torch.stack([right, down, radius])]))


def picture(pool, draws, grey_percent):
    """A scene, how it is turned, whether without its colours, its pixels and what its patches show."""
    scene, turn, is_grey = draws.below(len(pool)), Turn(draws), draws.chance(grey_percent)
    shown = turn.patches(torch.from_numpy(pool.patches[scene]).float())
    if is_grey:
        shown[ATTRIBUTES.index("colour")] = -1
    return scene, turn, is_grey, turn.picture(pool.normalised(scene, is_grey)), shown


def pictures(pool, seed, step, scenes, grey_percent):
    """`scenes` pictures, [scenes, 3, S, S], and what their patches show, [scenes, 23, GRID, GRID]."""
    drawn = [picture(pool, shapes.Draws(seed, step, row), grey_percent)[3:] for row in range(scenes)]
    return [torch.stack(part) for part in zip(*drawn)]


@dataclass
class Batch:
    pixels: torch.Tensor  # [scenes, 3, S, S]
    patches: torch.Tensor  # [scenes, 23, GRID, GRID]
    prompts: torch.Tensor  # [image prompts, 3, S, S]
    scenes: torch.Tensor  # [queries], the row of `pixels` that each is asked of; image prompts come last
    attributes: torch.Tensor  # [queries, 4], indices, −1 where the query leaves an attribute open
    targets: torch.Tensor  # [queries, S, S]
    weights: torch.Tensor  # [queries, S, S], 0 where the target is left open


def left_open(objects, fixed):
    """The objects that a query says nothing about in training: red things when stars are asked for, say, and stars when red
    things are, where red stars are held out. As no red star is ever shown, "red, so no star" would be learnt from them."""
    colour, shape = fixed.get("colour"), fixed.get("shape")
    return [
        index
        for index, thing in enumerate(objects)
        if (thing.colour, shape) in shapes.HELD_OUT or (colour, thing.shape) in shapes.HELD_OUT
    ]


def batch(pool, seed, step, scenes, texts, image_prompts, grey_percent):
    """`scenes` pictures with `texts` queries in words each, and one image prompt for each of the first `image_prompts`."""
    pixels, patches, prompts, worded, shown = [], [], [], [], []

    def query(row, scene, turn, is_grey, fixed, members):
        values = [-1 if fixed.get(name) is None else fixed[name] for name in ATTRIBUTES]
        unsaid = [] if is_grey else left_open(pool.objects[scene], fixed)
        return row, values, turn.picture(pool.target(scene, members)), 1 - turn.picture(pool.target(scene, unsaid))

    for row in range(scenes):
        draws = shapes.Draws(seed, step, row)
        # The first ones have image prompts, which show colours.
        scene, turn, is_grey, turned, what = picture(pool, draws, grey_percent if row >= image_prompts else 0)
        objects = pool.objects[scene]
        pixels.append(turned)
        patches.append(what)
        asked = 0
        while asked < texts:
            drawn = shapes.draw_text_query(draws, objects, "seen")
            if is_grey and drawn.colour is not None:
                continue
            worded.append(query(row, scene, turn, is_grey, vars(drawn), drawn.members))
            asked += 1
        if row < image_prompts:
            colour, shape = shapes.draw_image_pair(draws, objects, "seen")
            prompts.append(Turn(draws).picture(pool.prompt_image(draws, (colour, shape))))
            fixed = dict(colour=colour, shape=shape)
            shown.append(query(row, scene, turn, is_grey, fixed, shapes.matching(objects, fixed)))
    rows, attributes, targets, weights = zip(*worded, *shown)
    return Batch(
        pixels=torch.stack(pixels),
        patches=torch.stack(patches),
        prompts=torch.stack(prompts),
        scenes=torch.tensor(rows),
        attributes=torch.tensor(attributes),
        targets=torch.stack(targets),
        weights=torch.stack(weights),
    )


def phrases(seed, step, count):
    """`count` phrases of the training's kinds, and the attributes they fix, [count, 4]; held-out pairs never occur."""
    texts, attributes = [], []
    draws = shapes.Draws(seed, step)
    while len(texts) < count:
        names = shapes.KINDS[draws.below(len(shapes.KINDS))][0].split()
        fixed = {name: draws.below(len(shapes.VALUES[name])) for name in names}
        if not shapes.allowed(fixed, "seen") or shapes.is_vague(fixed):
            continue
        texts.append(shapes.phrase(draws, fixed))
        attributes.append([fixed.get(name, -1) for name in ATTRIBUTES])
    return texts, torch.tensor(attributes)
