"""Random numbers as a function of a key and a count, in integer arithmetic, so that they are the same everywhere: the twin of
`crates/shapes/src/draws.rs`.
"""

import numpy

GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def mix(value):
    """The finaliser of splitmix64."""
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def mix_all(values):
    """`mix` for an array of uint64."""
    values = (values ^ (values >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return values ^ (values >> numpy.uint64(31))


class Draws:
    """Whole numbers, one after the other, from a key."""

    def __init__(self, *path):
        self.key = 0
        for part in path:
            self.key = mix((self.key + (part + 1) * GOLDEN) & MASK)
        self.count = 0

    def bits(self):
        self.count += 1
        return mix((self.key + self.count * GOLDEN) & MASK)

    def below(self, end):
        return ((self.bits() >> 32) * end) >> 32

    def between(self, low, high):
        """Both ends included."""
        return low + self.below(high - low + 1)

    def chance(self, percent):
        return self.below(100) < percent

    def weighted(self, weights):
        """An index, drawn in proportion to its weight."""
        value = self.below(sum(weights))
        for index, weight in enumerate(weights):
            if value < weight:
                return index
            value -= weight
