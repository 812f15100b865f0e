"""The cases of the tiny checkpoints: random inputs and options, by the name of the reference file."""

import torch

from tiny import generator


class Inputs:
    """Random inputs for one case of one checkpoint."""

    def __init__(self, config, checkpoint, case):
        self.config = config
        # A tower alone has the tower's config itself.
        self.text = getattr(config, "text_config", config)
        self.vision = getattr(config, "vision_config", config)
        self.random = generator(checkpoint, case)

    def pixels(self, batch, size=None):
        """Normalised pixels of a square, or (height, width): a smooth part (as photos have) and a rough one."""
        size = size or self.vision.image_size
        size = size if isinstance(size, tuple) else (size, size)
        channels = self.vision.num_channels
        coarse = torch.randn(batch, channels, 4, 4, generator=self.random)
        smooth = torch.nn.functional.interpolate(coarse, size, mode="bilinear")
        return smooth + 0.4 * torch.randn(batch, channels, *size, generator=self.random)

    def patches(self, rows, columns, remainder=0):
        """Size of an image of `rows` by `columns` patches, with `remainder` pixels beyond them that are
        dropped."""
        patch = self.vision.patch_size
        return rows * patch + remainder, columns * patch + remainder

    @property
    def grid(self):
        """Patches along one side of the trained image."""
        return self.vision.image_size // self.vision.patch_size

    def prompts(self, lengths, side="right"):
        """`input_ids` and `attention_mask` of prompts with these `lengths` in tokens, start and end
        included."""
        text = self.text
        # With the old rule the end token is the largest id; otherwise the config names it, and larger ids may follow.
        largest = text.vocab_size - 1
        end = largest if text.eos_token_id == 2 else text.eos_token_id
        total = max(lengths) + 1  # at least one padding token in every row
        input_ids = torch.full((len(lengths), total), text.pad_token_id)
        attention_mask = torch.zeros(len(lengths), total, dtype=torch.int64)
        for row, length in enumerate(lengths):
            body = torch.randint(3, largest, (length - 2,), generator=self.random)
            body[body == end] = 3  # an end token inside the prompt would be another test
            tokens = torch.cat([torch.tensor([text.bos_token_id]), body, torch.tensor([end])])
            place = slice(0, length) if side == "right" else slice(total - length, total)
            input_ids[row, place] = tokens
            attention_mask[row, place] = 1
        return dict(input_ids=input_ids, attention_mask=attention_mask)

    def embeddings(self, batch):
        return torch.randn(batch, self.config.projection_dim, generator=self.random)


def segmentation_prompts(inputs):
    """The main use: text prompts with right padding, and all outputs that the model has."""
    return dict(pixel_values=inputs.pixels(2), **inputs.prompts([7, 4])), dict(details=True)


def segmentation_unmasked(inputs):
    """Prompts without an attention mask; one image, so transformers' `squeeze` drops the batch from the logits."""
    return dict(pixel_values=inputs.pixels(1), input_ids=inputs.prompts([5])["input_ids"]), {}


def segmentation_image(inputs):
    return dict(pixel_values=inputs.pixels(2), conditional_pixel_values=inputs.pixels(2)), {}


def segmentation_embeddings(inputs):
    return dict(pixel_values=inputs.pixels(2), conditional_embeddings=inputs.embeddings(2)), {}


def segmentation_labels(inputs):
    """`labels` are targets between 0 and 1 for every logit; they add the loss."""
    patch, grid = inputs.vision.patch_size, inputs.grid
    scale = (patch // 4) ** 2 if inputs.config.use_complex_transposed_convolution else patch
    labels = (torch.rand(2, grid * scale, grid * scale, generator=inputs.random) > 0.6).float()
    given = dict(pixel_values=inputs.pixels(2), conditional_embeddings=inputs.embeddings(2), labels=labels)
    return given, {}


def segmentation_resized(inputs):
    """A larger picture than the position embedding was trained for: positions are resized bicubically."""
    size = inputs.vision.image_size + 2 * inputs.vision.patch_size
    return dict(pixel_values=inputs.pixels(2, size), **inputs.prompts([6, 3])), {}


def segmentation_smaller(inputs):
    """A smaller picture than the position embedding was trained for."""
    size = inputs.vision.image_size - inputs.vision.patch_size
    return dict(pixel_values=inputs.pixels(2, size), **inputs.prompts([3, 5])), {}


def segmentation_image_resized(inputs):
    """A picture and a picture as its prompt, of two sizes that are not the trained one."""
    large, small = inputs.patches(inputs.grid + 1, inputs.grid + 1), inputs.patches(2, 2)
    return dict(pixel_values=inputs.pixels(2, large), conditional_pixel_values=inputs.pixels(2, small)), {}


def segmentation_five(inputs):
    return dict(pixel_values=inputs.pixels(5), **inputs.prompts([6, 3, 8, 4, 5])), {}


def segmentation_left_padding(inputs):
    return dict(pixel_values=inputs.pixels(2), **left_padded(inputs, [4, 7])), {}


def clip(inputs):
    return dict(pixel_values=inputs.pixels(2), **inputs.prompts([6, 4])), dict(details=True, return_loss=True)


def clip_five(inputs):
    return dict(pixel_values=inputs.pixels(5), **inputs.prompts([6, 4, 3, 9, 5])), dict(return_loss=True)


def clip_rectangular(inputs):
    """More texts than images, so there is no loss."""
    return dict(pixel_values=inputs.pixels(2), **inputs.prompts([6, 4, 3, 8, 5])), {}


def text(inputs):
    return inputs.prompts([9, 3, 6]), dict(details=True)


def text_unmasked(inputs):
    return dict(input_ids=inputs.prompts([4, 8, 5])["input_ids"]), dict(details=True)


def left_padded(inputs, lengths):
    """Left padding with positions that count from the start token, as batched generation writes them."""
    given = inputs.prompts(lengths, side="left")
    given["position_ids"] = (given["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    return given


def text_left_padding(inputs):
    return left_padded(inputs, [5, 8, 3]), dict(details=True)


def text_holes(inputs):
    """Masks with holes anywhere but at the first token."""
    given = inputs.prompts([8, 6, 7])
    kept = torch.rand(given["attention_mask"].shape, generator=inputs.random) > 0.3
    kept[:, 0] = True
    given["attention_mask"] *= kept
    return given, dict(details=True)


def text_positions(inputs):
    """Positions in any order, some of them twice."""
    given = inputs.prompts([9, 5])
    shape, rows = given["input_ids"].shape, inputs.text.max_position_embeddings
    given["position_ids"] = torch.randint(0, rows, shape, generator=inputs.random)
    return given, dict(details=True)


def text_longest(inputs):
    """One text that takes every position, without padding or mask."""
    length = inputs.text.max_position_embeddings
    return dict(input_ids=inputs.prompts([length])["input_ids"][:, :length]), {}


def text_one_token(inputs):
    """Five texts of one token, the end."""
    return dict(input_ids=torch.full((5, 1), inputs.text.eos_token_id)), dict(details=True)


def vision(inputs):
    return dict(pixel_values=inputs.pixels(2)), dict(details=True)


def vision_one(inputs):
    return dict(pixel_values=inputs.pixels(1)), dict(details=True)


def vision_five(inputs):
    return dict(pixel_values=inputs.pixels(5)), {}


def vision_larger(inputs):
    """A larger square, with some pixels over that make no patch."""
    return dict(pixel_values=inputs.pixels(2, inputs.patches(inputs.grid + 2, inputs.grid + 2, 3))), {}


def vision_oblong(inputs):
    """More rows and fewer columns than trained, with pixels over; positions by the later releases' rule."""
    size = inputs.patches(inputs.grid + 3, inputs.grid - 1, 5)
    return dict(pixel_values=inputs.pixels(2, size)), dict(details=True, later_positions=True)


def vision_same_count(inputs):
    """As many patches as trained in another grid, which 4.37.2 takes for the trained one and later releases do not."""
    size = inputs.patches(inputs.grid // 2, inputs.grid * 2)
    return dict(pixel_values=inputs.pixels(1, size)), dict(later_positions=True)


# File name (its first word is the task) → inputs and options.
CASES = {
    "segmentation": segmentation_prompts,
    "segmentation-unmasked": segmentation_unmasked,
    "segmentation-image": segmentation_image,
    "segmentation-embeddings": segmentation_embeddings,
    "segmentation-labels": segmentation_labels,
    "segmentation-resized": segmentation_resized,
    "segmentation-smaller": segmentation_smaller,
    "segmentation-image-resized": segmentation_image_resized,
    "segmentation-five": segmentation_five,
    "segmentation-left-padding": segmentation_left_padding,
    "clip": clip,
    "clip-five": clip_five,
    "clip-rectangular": clip_rectangular,
    "text": text,
    "text-unmasked": text_unmasked,
    "text-left-padding": text_left_padding,
    "text-holes": text_holes,
    "text-positions": text_positions,
    "text-longest": text_longest,
    "text-one-token": text_one_token,
    "vision": vision,
    "vision-one": vision_one,
    "vision-five": vision_five,
    "vision-larger": vision_larger,
    "vision-oblong": vision_oblong,
    "vision-same-count": vision_same_count,
}
