"""The batches of an epoch as the network sees them: drawn, augmented, cut into shards, mixed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from vipnp.backends.numpy.threads import bounds
from vipnp.core import Generator, HostArray
from vipnp.data import DataSet, cutmix, mixup, stream
from vipnp.data.loader import batches
from vipnp.data.transforms import erase_at_random
from vipnp.train.recipe import Recipe
from vipnp.train.settings import Settings


class Part(NamedTuple):
    """A shard of a batch: images, distributions over the classes, and its number."""

    x: HostArray
    targets: HostArray
    shard: int


@dataclass(frozen=True)
class Batches:
    """The batches of training by `settings` on `data`, of which this process makes `shards`."""

    settings: Settings
    data: DataSet
    shards: range

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.data.train) // self.settings.recipe.batch_size)

    def from_step(self, step: int, workers: int) -> Iterator[tuple[int, list[Part]]]:
        """The batches from `step` on to the end of its epoch: how many images each has, and the shards of this
        process."""
        settings, recipe, train = self.settings, self.settings.recipe, self.data.train
        epoch, first = divmod(step, self.steps_per_epoch)
        order = stream(settings.seed, "order", epoch).permutation(len(train))
        whole = [order[i : i + recipe.batch_size] for i in range(0, len(order), recipe.batch_size)][first:]
        mine = [batch[self._places(len(batch), self.shards)] for batch in whole]
        transform = settings.transform()

        def sample(index: int) -> HostArray:
            rng = stream(settings.seed, "augment", epoch, index)
            image = transform.training(train.picture(index, settings.channels), rng)
            return erase_at_random(image, rng, recipe.reprob).astype(settings.precision)

        for at, (batch, (indices, x)) in enumerate(zip(whole, batches(sample, mine, workers), strict=True), start=step):
            labels, offset = train.labels[indices], self._places(len(batch), self.shards).start
            parts = []
            for shard in self.shards:
                places = self._places(len(batch), range(shard, shard + 1))
                inside = slice(places.start - offset, places.stop - offset)
                parts.append(self._part(x[inside], labels[inside], at, shard))
            yield len(batch), parts

    def _places(self, samples: int, shards: range) -> slice:
        """Where consecutive shards lie in a batch; some are empty where there are fewer samples than shards."""
        places = bounds(samples, self.settings.shards)
        return slice(places[shards[0]].start, places[shards[-1]].stop)

    def _part(self, x: HostArray, labels: HostArray, step: int, shard: int) -> Part:
        """A shard of a batch, mixed within itself."""
        if not len(x):
            return Part(x, labels, shard)
        rng = stream(self.settings.seed, "mix", step, shard)
        return Part(*mixed(x, labels, rng, self.settings.recipe, len(self.data.classes)), shard)


def mixed(x: HostArray, labels: HostArray, rng: Generator, recipe: Recipe, classes: int) -> tuple[HostArray, HostArray]:
    """Mixup or cutmix of a shard, by the recipe: one of them where both are asked for, each as often."""
    cut = bool(recipe.cutmix) and (not recipe.mixup or rng.random() < 0.5)
    mix, alpha = (cutmix, recipe.cutmix) if cut else (mixup, recipe.mixup)
    return mix(x, labels, rng, alpha=alpha, num_classes=classes, label_smoothing=recipe.smoothing)
