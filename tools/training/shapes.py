"""`clipseg-shapes`: scenes of coloured shapes with exact masks and the prompts that ask for them.

Every scene is a function of (seed, index): all of it is integer arithmetic on draws of a counter-based generator, so the
Rust port in `crates/shapes` gives the same pixels, masks and phrases. Lengths are in pixels of a 256 × 256 picture;
inside an object they are in half pixels, so that pixel centres are whole numbers.
"""

import math
from dataclasses import dataclass, field

import numpy

from shapes_draws import GOLDEN, Draws, mix_all

SIZE = 256

COLOURS = ["red", "green", "blue", "yellow", "purple", "orange", "cyan", "pink"]
PALETTE = [
    (205, 35, 35), (40, 150, 50), (40, 70, 205), (235, 215, 50),
    (130, 45, 165), (240, 130, 25), (60, 205, 215), (250, 140, 190),
]  # fmt: skip
SHAPES = ["circle", "square", "triangle", "ring", "star", "cross", "crescent"]
FILLS = ["plain", "striped", "dotted"]
SIZES = ["small", "medium", "large"]
RADII = [(36, 44), (52, 64), (74, 92)]
COUNTS = [25, 30, 25, 12, 8]  # how often two, three, … six objects

# Pairs of (colour, shape) that never occur in training, neither in pictures nor in phrases: the zero-shot test.
HELD_OUT = [(0, 4), (1, 0), (2, 2), (3, 6), (4, 1), (5, 3), (6, 5), (7, 0)]

TEXT_PROMPTS = 3  # and one image prompt for each scene of a data set
ABSENT_PERCENT = 20

UNIT = 1 << 14  # the fixed point of sines, directions and fractions of a radius
SINES = [round(math.sin(math.tau * step / 256) * UNIT) for step in range(256)]


# What an index stands for in the path of a `Draws`.
SCENE, SUPPORT, QUERIES = 0, 1, 2


@dataclass
class Object:
    shape: int
    colour: int
    fill: int
    size: int
    radius: int
    angle: int
    centre: tuple
    ink: tuple  # the colour
    second_ink: tuple  # of stripes and dots
    pitch: int  # of stripes and dots, in pixels
    light_angle: int
    light: int
    area: int = 0
    visible: int = 0

    @property
    def pair(self):
        return (self.colour, self.shape)


@dataclass
class Scene:
    """`pixels` are RGB, uint8 [256, 256, 3]; `labels` are 0 for the background and 1 + the object's index."""

    pixels: numpy.ndarray
    labels: numpy.ndarray
    objects: list

    def mask(self, members):
        """The pixels that show one of these objects, bool [256, 256]."""
        return numpy.isin(self.labels, [member + 1 for member in members])


def rotated(x, y, angle):
    """Coordinates in a frame turned by `angle`/256 of a circle; they are in units of 1 / UNIT."""
    cosine, sine = SINES[(angle + 64) % 256], SINES[angle % 256]
    return x * cosine + y * sine, y * cosine - x * sine


def draw_clipped(draws, colour, spread):
    return tuple(min(255, max(0, channel + draws.between(-spread, spread))) for channel in colour)


def background(draws):
    """A dull picture of two related colours, int64 [256, 256, 3]."""
    y, x = numpy.mgrid[0:SIZE, 0:SIZE].astype(numpy.int64)
    grey = draws.between(40, 205)
    first = draw_clipped(draws, (grey, grey, grey), 22)
    other = min(235, max(20, grey + draws.between(-50, 50)))
    second = draw_clipped(draws, (other, other, other), 22)
    texture = draws.below(4)
    period = draws.between(24, 64)
    angle = draws.below(256)
    key = draws.bits()
    u, v = rotated(x, y, angle)
    if texture == 0:
        weight = numpy.zeros_like(x)
    elif texture == 1:
        weight = blotches(x, y, period, key)
    elif texture == 2:
        phase = (u >> 14) % period
        weight = abs(2 * phase - period) * 256 // period
    else:
        weight = (((u >> 14) // period + (v >> 14) // period) & 1) * 256
    first, second = numpy.array(first), numpy.array(second)
    colour = first + ((second - first) * weight[..., None] >> 8)
    light_angle, light = draws.below(256), draws.between(0, 60)
    along, _ = rotated(x - SIZE // 2, y - SIZE // 2, light_angle)
    factor = 256 + ((along >> 14) * light >> 7)
    return colour * factor[..., None] >> 8


def blotches(x, y, period, key):
    """Smooth noise, 0 to 255: random numbers on a lattice, bilinear between."""

    def at(column, row):
        index = (row * 4096 + column).astype(numpy.uint64)
        return (mix_all(numpy.uint64(key) + index * numpy.uint64(GOLDEN)) & numpy.uint64(255)).astype(numpy.int64)

    column, row, right, down = x // period, y // period, x % period, y % period
    above = at(column, row) * (period - right) + at(column + 1, row) * right
    below = at(column, row + 1) * (period - right) + at(column + 1, row + 1) * right
    return (above * (period - down) + below * down) // (period * period)


# Outward normals, in 1 / UNIT, of the sides of a triangle and of the lines of a five-pointed star.
TRIANGLE = [(0, 16384), (14189, -8192), (-14189, -8192)]
STAR = [(0, -16384), (15582, -5063), (9630, 13255), (-9630, 13255), (-15582, -5063)]


def inside(shape, u, v, radius):
    """Whether points of the object's frame (in half pixels / UNIT) belong to a shape of this radius (in half pixels)."""

    def within(fraction, u=u, v=v):
        return u * u + v * v <= (radius * fraction) ** 2

    def behind(normal, fraction):
        return normal[0] * u + normal[1] * v <= radius * fraction * UNIT

    def bar(along, across):
        return (abs(along) <= radius * 15565) & (abs(across) <= radius * 5407)

    name = SHAPES[shape]
    if name == "circle":
        return within(14746)
    if name == "square":
        return (abs(u) <= radius * 13107) & (abs(v) <= radius * 13107)
    if name == "triangle":
        return behind(TRIANGLE[0], 9011) & behind(TRIANGLE[1], 9011) & behind(TRIANGLE[2], 9011)
    if name == "ring":
        return within(15565) & ~within(8520)
    if name == "star":
        return sum(behind(normal, 5898).astype(numpy.int64) for normal in STAR) >= 4
    if name == "cross":
        return bar(u, v) | bar(v, u)
    return within(15565) & ~within(13107, u=u - radius * 8192)


def draw_object(draws, others, pairs_allowed, pair):
    """Draws an object without its place. Some objects take their shape or colour from an earlier one, so that
    one word is not enough to name them."""
    while True:
        shape, colour = draws.below(len(SHAPES)), draws.below(len(COLOURS))
        if others and draws.chance(25):
            other = others[draws.below(len(others))]
            shape, colour = (other.shape, colour) if draws.chance(50) else (shape, other.colour)
        if pair is not None:
            colour, shape = pair
        if pairs_allowed == "all" or (colour, shape) not in HELD_OUT:
            break
    fill = draws.weighted([50, 25, 25])
    size = draws.weighted([30, 40, 30])
    radius = draws.between(*RADII[size])
    ink = draw_clipped(draws, PALETTE[colour], 18)
    pale = draws.chance(50)
    second_ink = tuple(240 if pale else channel * 90 >> 8 for channel in ink)
    return Object(
        shape=shape,
        colour=colour,
        fill=fill,
        size=size,
        radius=radius,
        angle=draws.below(256),
        centre=(0, 0),
        ink=ink,
        second_ink=second_ink,
        pitch=draws.between(radius // 6 + 3, radius // 5 + 5),
        light_angle=draws.below(256),
        light=draws.between(0, 50),
    )


def frame(thing):
    """The rows and columns that may show an object, and their pixels' coordinates from its centre, in half pixels."""
    reach = thing.radius * 6 // 5 + 1
    column, row = thing.centre
    rows = slice(max(0, row - reach), min(SIZE, row + reach))
    columns = slice(max(0, column - reach), min(SIZE, column + reach))
    y, x = numpy.mgrid[rows, columns].astype(numpy.int64)
    return (rows, columns), 2 * x + 1 - 2 * column, 2 * y + 1 - 2 * row


def paint(thing, x, y):
    """The object's colour at these points, int64 [..., 3]."""
    u, v = rotated(x, y, thing.angle)
    u, v = u >> 15, v >> 15  # whole pixels
    if FILLS[thing.fill] == "striped":
        second = (u // thing.pitch) & 1 == 1
    elif FILLS[thing.fill] == "dotted":
        period = 2 * thing.pitch + 4
        right, down = u % period - thing.pitch - 2, v % period - thing.pitch - 2
        second = right * right + down * down <= period * period * 10 // 64
    else:
        second = numpy.zeros(u.shape, dtype=bool)
    colour = numpy.where(second[..., None], numpy.array(thing.second_ink), numpy.array(thing.ink))
    along, _ = rotated(x, y, thing.light_angle)
    factor = 256 + (along >> 14) * thing.light // (2 * thing.radius)
    return colour * factor[..., None] >> 8


def place(draws, thing, objects, labels):
    """Finds a place that leaves three fifths of every earlier object in sight; returns its window and mask, or none."""
    for _ in range(12):
        thing.centre = tuple(draws.between(thing.radius, SIZE - 1 - thing.radius) for _ in range(2))
        window, x, y = frame(thing)
        u, v = rotated(x, y, thing.angle)
        mask = inside(thing.shape, u, v, 2 * thing.radius)
        covered = numpy.bincount(labels[window][mask], minlength=len(objects) + 1)
        if all(5 * (other.visible - int(covered[i + 1])) >= 3 * other.area for i, other in enumerate(objects)):
            for i, other in enumerate(objects):
                other.visible -= int(covered[i + 1])
            thing.area = thing.visible = int(mask.sum())
            return window, mask, paint(thing, x, y)
    return None


def draw_scene(draws, pairs_allowed="all", pair=None):
    """Two to six objects on a background. `pair` fixes colour and shape of the first one."""
    pixels = background(draws)
    labels = numpy.zeros((SIZE, SIZE), dtype=numpy.uint8)
    objects = []
    for number in range(2 + draws.weighted(COUNTS)):
        thing = draw_object(draws, objects, pairs_allowed, pair if number == 0 else None)
        placed = place(draws, thing, objects, labels)
        if placed is None:
            continue
        window, mask, colour = placed
        pixels[window][mask] = colour[mask]
        objects.append(thing)
        labels[window][mask] = len(objects)
    amplitude, key = draws.between(0, 14), draws.bits()
    index = numpy.arange(SIZE * SIZE, dtype=numpy.uint64).reshape(SIZE, SIZE)
    noise = mix_all(numpy.uint64(key) + index * numpy.uint64(GOLDEN))
    for channel in range(3):
        byte = (noise >> numpy.uint64(8 * channel) & numpy.uint64(255)).astype(numpy.int64)
        pixels[..., channel] += (byte * (2 * amplitude + 1) >> 8) - amplitude
    return Scene(numpy.clip(pixels, 0, 255).astype(numpy.uint8), labels, objects)


def scene(seed, index, pairs_allowed="all"):
    """Scene `index` of the data set `seed`."""
    return draw_scene(Draws(seed, index, SCENE), pairs_allowed)


@dataclass
class Query:
    """A prompt and the objects it means. The attributes are indices, or none where the prompt leaves them open."""

    kind: str
    members: list
    text: str = ""
    colour: int = None
    shape: int = None
    fill: int = None
    size: int = None
    support: Scene = field(default=None, repr=False)  # of an image prompt: the scene whose first object is shown

    @property
    def held_out(self):
        return (self.colour, self.shape) in HELD_OUT


# Kinds of phrases, what they fix, and how often they are drawn.
KINDS = [
    ("colour shape", 30), ("shape", 12), ("colour", 12), ("fill shape", 10),
    ("size shape", 12), ("fill colour shape", 10), ("size colour shape", 8), ("fill", 6),
]  # fmt: skip
VALUES = dict(colour=COLOURS, shape=SHAPES, fill=FILLS, size=SIZES)


def matching(objects, fixed):
    """The objects that have these attributes."""
    return [
        index
        for index, thing in enumerate(objects)
        if all(getattr(thing, name) == value for name, value in fixed.items())
    ]


def allowed(fixed, pairs_allowed):
    return pairs_allowed == "all" or (fixed.get("colour"), fixed.get("shape")) not in HELD_OUT


def is_vague(fixed):
    """Whether a phrase for these attributes would ask for what nobody asks for: a medium thing, or anything plain."""
    return fixed.get("size") == SIZES.index("medium") or fixed == dict(fill=FILLS.index("plain"))


def draw_text_query(draws, objects, pairs_allowed="all"):
    """A phrase for one of the objects and all that are like it, or, one in five times, for something that is not there."""
    thing = objects[draws.below(len(objects))]
    kind = KINDS[draws.weighted([weight for _, weight in KINDS])][0]
    names = kind.split()
    fixed = {name: getattr(thing, name) for name in names}
    if is_vague(fixed):
        kind, names = "colour shape", ["colour", "shape"]
        fixed = {name: getattr(thing, name) for name in names}
    if draws.chance(ABSENT_PERCENT):
        for _ in range(10):
            name = names[draws.below(len(names))]
            value = draws.below(len(VALUES[name]))
            other = {**fixed, name: value}
            if not is_vague(other) and not matching(objects, other) and allowed(other, pairs_allowed):
                fixed = other
                break
    return Query(kind, matching(objects, fixed), phrase(draws, fixed), **fixed)


def phrase(draws, fixed):
    words = [VALUES[name][fixed[name]] for name in ("size", "fill", "colour", "shape") if name in fixed]
    template = draws.below(4)
    if "shape" not in fixed:
        words, template = [*words, "thing"], (template if template < 2 else 4)
    article = "an" if words[0][0] in "aeiou" else "a"
    return [
        f"{article} {' '.join(words)}",
        f"the {' '.join(words)}",
        " ".join(words),
        f"a photo of {article} {' '.join(words)}",
        f"something {words[0]}",
    ][template]


def draw_image_pair(draws, objects, pairs_allowed="all"):
    """Colour and shape that an image prompt shows: one of the objects', or, one in five times, what is not there."""
    pair = objects[draws.below(len(objects))].pair
    if draws.chance(ABSENT_PERCENT):
        for _ in range(10):
            other = (draws.below(len(COLOURS)), draws.below(len(SHAPES)))
            fixed = dict(colour=other[0], shape=other[1])
            if not matching(objects, fixed) and allowed(fixed, pairs_allowed):
                return other
    return pair


def queries(seed, index, drawn, pairs_allowed="all"):
    """The prompts of scene `index` of the data set: three phrases and one image prompt."""
    draws = Draws(seed, index, QUERIES)
    found = [draw_text_query(draws, drawn.objects, pairs_allowed) for _ in range(TEXT_PROMPTS)]
    colour, shape = draw_image_pair(draws, drawn.objects, pairs_allowed)
    support = draw_scene(Draws(seed, index, SUPPORT), pairs_allowed, (colour, shape))
    members = matching(drawn.objects, dict(colour=colour, shape=shape))
    return [*found, Query("image", members, colour=colour, shape=shape, support=support)]
