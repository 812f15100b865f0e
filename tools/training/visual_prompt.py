"""Visual prompts as the paper engineers them: the object kept, what is around it blurred, dimmed and cropped away."""

import torch
from torch.nn.functional import conv2d, interpolate, pad

KERNEL = 15  # of the blur, in pixels


def gaussian(deviation):
    offsets = torch.arange(KERNEL, dtype=torch.float64) - KERNEL // 2
    weights = torch.exp(-(offsets**2) / (2 * deviation**2))
    return (weights / weights.sum()).float()


def blurred(pixels, deviation):
    """A separable Gaussian; the picture is mirrored at its border, the border's pixels not repeated."""
    weights = gaussian(deviation)
    half = KERNEL // 2
    planes = pad(pixels.unsqueeze(1), (half, half, half, half), mode="reflect")
    planes = conv2d(planes, weights.view(1, 1, 1, -1))
    return conv2d(planes, weights.view(1, 1, -1, 1)).squeeze(1)


def grown(low, high, context, end):
    extent = high - low
    return int(max(0.0, low - context * extent)), int(min(float(end), high + context * extent))


def visual_prompt(pixels, mask, deviation=3.0, background=0.1, context=0.1):
    """`pixels` [3, S, S], normalised, and `mask` [S, S] of zeros and ones, to a picture of the same size.

    The object must be visible. Without a `context` there is no crop.
    """
    size = pixels.shape[-1]
    dimmed = pixels * mask + background * blurred(pixels, deviation) * (1 - mask)
    if context is None:
        return dimmed
    rows, columns = mask.amax(1).nonzero(), mask.amax(0).nonzero()
    top, bottom = grown(rows[0].item(), rows[-1].item() + 1, context, size)
    left, right = grown(columns[0].item(), columns[-1].item() + 1, context, size)
    crop = dimmed[:, top:bottom, left:right]
    side = max(bottom - top, right - left)
    above, before = (side - (bottom - top)) // 2, (side - (right - left)) // 2
    square = pad(crop, (before, side - (right - left) - before, above, side - (bottom - top) - above))
    return interpolate(square.unsqueeze(0), (size, size), mode="nearest").squeeze(0)
