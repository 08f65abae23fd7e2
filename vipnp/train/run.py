"""A training run in a folder of its own, which can be stopped at any moment and taken up again with the same bits."""

from __future__ import annotations

import csv
import json
import math
import operator
import signal
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, TypeAlias, cast

import numpy as np

from vipnp.backends import get_backend
from vipnp.backends.numpy import NumpyBackend
from vipnp.backends.numpy.threads import Crew
from vipnp.checkpoint import load_metadata, load_weights, save_weights
from vipnp.core import Array, HostArray
from vipnp.core.files import replaced_when_done, write_text
from vipnp.data import DataSet, Split, cutmix, mixup, stream
from vipnp.data.loader import batches
from vipnp.data.transforms import Transform, erase_at_random
from vipnp.models import VisionPermutator
from vipnp.optim import AdamW, AdamWState, clip_grad_norm, cosine_lr
from vipnp.train.overlap import Exchange, data_parallel
from vipnp.train.ranks import Ranks, StoppedError
from vipnp.train.settings import FILE, Settings
from vipnp.train.shards import shard_bounds, shards_of, tree_sum
from vipnp.train.transfer import learning_rate_factors, starting_model

STATES_KEPT = 2
"""States of a run that are kept; the older one is there in case the newer cannot be read."""

COLUMNS = ("epoch", "loss", "lr", "accuracy", "seconds")

EVALUATION_BATCH = 64

COMPARE_EVERY = 100
"""Steps between two comparisons of the weights of all ranks."""


@dataclass
class Progress:
    """What is told after every step, and after every epoch with its accuracy."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    lr: float
    images_per_second: float
    accuracy: float | None = None


class Part(NamedTuple):
    """A shard of a batch: images, distributions over the classes, and its number."""

    x: HostArray
    targets: HostArray
    shard: int


Summed: TypeAlias = tuple[float, dict[str, Any]]
"""A loss and gradients by name, summed over shards."""


def added(left: Summed, right: Summed) -> Summed:
    """The sum of both."""
    return left[0] + right[0], {name: gradient + right[1][name] for name, gradient in left[1].items()}


def blocks_of(model: VisionPermutator) -> dict[str, Any]:
    """The parameters of every Permutator block by the prefix of their names, in the order of the forward pass."""
    network = model.params["network"]
    return {
        f"network.{shape.place}.{block}.": params
        for shape in model.config.stages()
        for block, params in network[str(shape.place)].items()
    }


def threads_for(shards: int, cores: int) -> int:
    """Threads that compute `shards` shards: the largest power of two within them and the cores."""
    return min(shards, 1 << (cores.bit_length() - 1))


class Run:
    """Training by `settings` on `data` in `folder`.

    The state after any step is a function of the settings and the images alone: order, augmentation, mixing and drop
    path are drawn by counter (`vipnp.data.stream`), and gradients are summed over the shards of a batch in one fixed
    order (`vipnp.train.shards`). `train` starts, or goes on from the last state in the folder.
    """

    def __init__(self, folder: Path, settings: Settings, data: DataSet, ranks: Ranks | None = None) -> None:
        self.folder = folder
        self.settings = settings
        self.data = data
        self.ranks = ranks or Ranks()
        self.transform = settings.transform()
        self.shards = shards_of(settings.shards, self.ranks.rank, self.ranks.size)
        on_cpu = settings.backend != "cupy"
        options = {"shards": 1} if on_cpu else {"device": self.ranks.local_rank}
        self.backend = get_backend(settings.backend, **options)
        self.crew = Crew(threads_for(len(self.shards), self.ranks.cores()) if on_cpu else 1)
        config = settings.config(len(data.classes))
        self.exchange = Exchange(self.ranks, settings.reduce) if self.ranks.size > 1 else None
        working = self.backend
        self.overlaps = self.exchange is not None and on_cpu and settings.recipe.grad_accum_steps == 1
        if self.exchange is not None and self.overlaps:
            working = data_parallel(cast("NumpyBackend", self.backend), self.exchange)
        self.model = VisionPermutator(config, backend=working, dtype=settings.dtype, seed=settings.seed)
        self.optimizer = AdamW(self.backend, weight_decay=settings.recipe.weight_decay)
        self.ema: dict[str, Any] | None = self.model.parameters() if settings.recipe.ema else None
        self.factors = learning_rate_factors(config, settings.recipe.backbone_lr, settings.recipe.layer_decay)
        self.step = 0
        self.loss_sum = 0.0
        self.best = -1.0

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.data.train) // self.settings.recipe.batch_size)

    def take_weights(self) -> None:
        """Begin from the weights of the settings' file. Raises as `vipnp.train.transfer.starting_model`."""
        self.model = starting_model(self.settings, self.data.classes, self.backend)
        self.ema = self.model.parameters() if self.settings.recipe.ema else None

    # --- the loop -----------------------------------------------------------------------------------------------------

    def train(
        self, *, workers: int, save_every: int, report: Callable[[Progress], None] | None = None
    ) -> list[dict[str, Any]]:
        """Train to the end of the last epoch; returns the rows of metrics.csv.

        workers : threads that decode images; the result does not depend on it. save_every : steps between two states
        within an epoch; one is written after every epoch in any case.

        Raises FloatingPointError where a loss is not finite: the last state and the best weights stay as they are.
        Raises StoppedError after a signal (SIGINT, SIGTERM, SIGHUP), when the state is saved.
        """
        recipe, ranks = self.settings.recipe, self.ranks
        with ranks.agreed():
            rows = self._restored()
        ranks.compare({"step": self.step, "weights": self._checksum()})
        with stop_signals() as stop:
            while self.step < recipe.epochs * self.steps_per_epoch:
                epoch = self.step // self.steps_per_epoch
                began = time.perf_counter()
                for samples, parts in self._batches(epoch, workers):
                    told = self._one_step(samples, parts, began)
                    if report is not None:
                        report(told)
                    stopped = max(ranks.gather(stop[0] if stop else 0))
                    if self.step % COMPARE_EVERY == 0:
                        ranks.compare({f"weights after step {self.step}": self._checksum()})
                    at_end = self.step % self.steps_per_epoch == 0
                    if not at_end and (stopped or self.step % save_every == 0):
                        self._save_state(rows)
                        if stopped:
                            raise StoppedError(stopped)
                rows.append(self._epoch_done(epoch, began, told))
                self._save_state(rows)
                if report is not None:
                    told.accuracy = rows[-1]["accuracy"]
                    report(told)
                stopped = max(ranks.gather(stop[0] if stop else 0))
                if stopped:
                    raise StoppedError(stopped)
        return rows

    def _one_step(self, samples: int, parts: list[Part], began: float) -> Progress:
        recipe, model = self.settings.recipe, self.model
        lr = self.learning_rate(self.step)
        loss, found = self._summed(samples, parts)
        grads: Mapping[str, Array] = {name: found[name] for name in self.factors}
        norm = math.nan
        if recipe.clip_grad:
            grads, norm = model.backend.find(clip_grad_norm)(model.backend, grads, max_norm=recipe.clip_grad)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss of step {self.step} is {loss} at learning rate {lr:.3g} (norm of all gradients "
                f"{float(norm):.3g}); the last state and the best weights are kept: try a smaller --lr"
            )
        self._update(grads, lr)
        if self.ema is not None:
            keep = recipe.ema
            self.ema = {name: keep * self.ema[name] + (1 - keep) * value for name, value in model.parameters().items()}
        self.loss_sum += loss * samples
        self.step += 1
        inside = (self.step - 1) % self.steps_per_epoch + 1
        speed = inside * recipe.batch_size / max(time.perf_counter() - began, 1e-9)
        epoch = (self.step - 1) // self.steps_per_epoch
        return Progress(epoch, recipe.epochs, inside, self.steps_per_epoch, loss, lr, speed)

    def _update(self, grads: Mapping[str, Array], lr: float) -> None:
        """A step of AdamW. Its change of a weight is in proportion to the learning rate: a factor on the rate is one on
        the change."""
        params = self.model.parameters()
        old = {name: params[name] for name in self.factors}
        new = self.optimizer.update(old, grads, lr=lr)
        for name, factor in self.factors.items():
            params[name] = new[name] if factor == 1 else old[name] + factor * (new[name] - old[name])
        self.model.set_parameters(params)

    def _summed(self, samples: int, parts: list[Part]) -> tuple[float, dict[str, Any]]:
        """The mean loss of a step and its gradients: those of the shards, by their shares of `samples`, in the order of
        `tree_sum`; every thread computes a subtree."""
        exchange, model = self.exchange, self.model
        filled = sum(len(part.x) > 0 for part in parts)
        if exchange is not None:
            exchange.begin(blocks_of(model) if self.overlaps else {}, range(len(parts)), filled)
        posted = set() if exchange is None else exchange.posted()

        def leaf(place: int) -> Summed | None:
            x, targets, shard = parts[place]
            if not len(x):
                return None
            masks = stream(self.settings.seed, "masks", self.step, shard)
            share = len(x) / samples
            with nullcontext() if exchange is None else exchange.of_shard(place, share):
                loss, grads = self._loss_and_grads(x, targets, masks)
            return share * loss, {name: share * grads[name] for name in grads if name not in posted}

        threads = min(self.crew.size, len(parts))
        each = len(parts) // threads
        found = self.crew.run(lambda i: tree_sum(leaf, range(i * each, (i + 1) * each), added), threads)
        mine = tree_sum(found.__getitem__, range(threads), added)
        if exchange is None:
            assert mine is not None, "a batch has an image"
            return mine
        to_numpy, asarray = self.backend.to_numpy, self.backend.asarray
        rest = None if mine is None else {name: to_numpy(value) for name, value in mine[1].items()}
        grads = {name: asarray(value) for name, value in exchange.finish(rest, model.parameters()).items()}
        losses = self.ranks.gather(None if mine is None else mine[0])
        loss = tree_sum(losses.__getitem__, range(len(losses)), operator.add)
        assert loss is not None, "a batch has an image"
        return loss, grads

    def _checksum(self) -> int:
        """CRC-32 of the weights, which ranks compare."""
        checksum = 0
        for value in self.model.parameters().values():
            checksum = zlib.crc32(np.ascontiguousarray(self.backend.to_numpy(value)).data, checksum)
        return checksum

    def _loss_and_grads(self, x: HostArray, targets: HostArray, masks: np.random.Generator) -> tuple[float, Any]:
        """The loss and gradients of a shard, in `grad_accum_steps` parts: each counts by its share of the images."""
        parts = np.array_split(np.arange(len(x)), min(self.settings.recipe.grad_accum_steps, len(x)))
        total, grads = 0.0, None
        for part in parts:
            loss, found = self.model.loss_and_grads(x[part], targets[part], rng=masks)
            share = len(part) / len(x)
            total += share * float(self.backend.to_numpy(loss))
            if len(parts) == 1:
                return total, found
            scaled = {name: share * gradient for name, gradient in found.items()}
            grads = scaled if grads is None else {name: grads[name] + scaled[name] for name in grads}
        return total, grads

    def learning_rate(self, step: int) -> float:
        """The rate of a step."""
        recipe = self.settings.recipe
        warmup = min(recipe.warmup_epochs, recipe.epochs - 1)
        return cosine_lr(
            step / self.steps_per_epoch,
            lr=recipe.lr,
            epochs=recipe.epochs,
            min_lr=min(recipe.min_lr, recipe.lr),
            warmup_epochs=warmup,
            warmup_lr=min(recipe.warmup_lr, recipe.lr),
        )

    def _batches(self, epoch: int, workers: int) -> Iterator[tuple[int, list[Part]]]:
        """The batches of an epoch from the current step on: the number of images, and the shards of this rank."""
        settings, recipe, train = self.settings, self.settings.recipe, self.data.train
        order = stream(settings.seed, "order", epoch).permutation(len(train))
        whole = [order[i : i + recipe.batch_size] for i in range(0, len(order), recipe.batch_size)]
        whole = whole[self.step % self.steps_per_epoch :]
        mine = [batch[self._places(len(batch), self.shards)] for batch in whole]

        def sample(index: int) -> HostArray:
            rng = stream(settings.seed, "augment", epoch, index)
            image = self.transform.training(train.picture(index, settings.channels), rng)
            return erase_at_random(image, rng, recipe.reprob).astype(settings.dtype)

        for step, (batch, (indices, x)) in enumerate(
            zip(whole, batches(sample, mine, workers), strict=True), start=self.step
        ):
            labels, first = train.labels[indices], self._places(len(batch), self.shards).start
            parts = []
            for shard in self.shards:
                places = self._places(len(batch), range(shard, shard + 1))
                inside = slice(places.start - first, places.stop - first)
                parts.append(self._part(x[inside], labels[inside], step, shard))
            yield len(batch), parts

    def _places(self, samples: int, shards: range) -> slice:
        """Where consecutive shards lie in a batch."""
        bounds = shard_bounds(samples, self.settings.shards)
        return slice(bounds[shards[0]].start, bounds[shards[-1]].stop)

    def _part(self, x: HostArray, labels: HostArray, step: int, shard: int) -> Part:
        """A shard of a batch, mixed within itself."""
        if not len(x):
            return Part(x, labels, shard)
        return Part(*mixed(x, labels, self, stream(self.settings.seed, "mix", step, shard)), shard)

    # --- what is kept -------------------------------------------------------------------------------------------------

    def _epoch_done(self, epoch: int, began: float, told: Progress) -> dict[str, Any]:
        """Evaluate; rank 0 writes last and best weights. Returns the row of metrics.csv."""
        weights = self.model.state_dict()
        if self.ema is not None:
            weights = {name: self.backend.to_numpy(value).copy() for name, value in self.ema.items()}
        model = VisionPermutator.from_weights(self.model.config, weights, backend=self.backend)
        model.classes, model.transform = self.data.classes, self.transform
        logits = predict(model, self.data.validation, self.transform, crew=self.crew, ranks=self.ranks)
        accuracy = float(np.mean(logits.argmax(axis=1) == self.data.validation.labels))
        if self.ranks.rank == 0:
            model.save(self.folder / "last.safetensors")
        better, self.best = accuracy > self.best, max(accuracy, self.best)
        if better and self.ranks.rank == 0:
            model.save(self.folder / "best.safetensors")
        loss = self.loss_sum / len(self.data.train)
        self.loss_sum = 0.0
        return {
            "epoch": epoch + 1,
            "loss": loss,
            "lr": told.lr,
            "accuracy": accuracy,
            "seconds": time.perf_counter() - began,
        }

    def _save_state(self, rows: list[dict[str, Any]]) -> None:
        """Rank 0 writes the state, which is that of every rank and says nothing of them."""
        if self.ranks.rank:
            return
        folder = self.folder / "state"
        folder.mkdir(exist_ok=True)
        to_numpy = self.backend.to_numpy
        groups = {
            "weight": self.model.parameters(),
            "exp_avg": self.optimizer.state.exp_avg,
            "exp_avg_sq": self.optimizer.state.exp_avg_sq,
            "ema": self.ema or {},
        }
        tensors = {
            f"{group}/{name}": to_numpy(value) for group, found in groups.items() for name, value in found.items()
        }
        counters = {"step": self.step, "loss_sum": self.loss_sum, "best": self.best, "rows": rows}
        save_weights(folder / f"step-{self.step:08}.safetensors", tensors, counters)
        for old in states(self.folder)[:-STATES_KEPT]:
            old.unlink()
        with replaced_when_done(self.folder / "metrics.csv") as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)

    def _restored(self) -> list[dict[str, Any]]:
        """Take up the last state that can be read; the rows of metrics.csv so far."""
        for path in reversed(states(self.folder)):
            try:
                tensors, counters = load_weights(path), load_metadata(path)
            except ValueError:
                continue
            groups: dict[str, dict[str, Any]] = {"weight": {}, "exp_avg": {}, "exp_avg_sq": {}, "ema": {}}
            for name, tensor in tensors.items():
                group, _, rest = name.partition("/")
                groups[group][rest] = self.backend.asarray(np.array(tensor))
            self.model.set_parameters(groups["weight"])
            self.step = counters["step"]
            moments = ({name: groups[group][name] for name in self.factors} for group in ("exp_avg", "exp_avg_sq"))
            self.optimizer.state = AdamWState(self.step, *moments)
            self.ema = {name: groups["ema"][name] for name in self.model.parameters()} if groups["ema"] else None
            self.loss_sum, self.best = counters["loss_sum"], counters["best"]
            return list(counters["rows"])
        return []


def mixed(x: HostArray, labels: HostArray, run: Run, rng: np.random.Generator) -> tuple[HostArray, HostArray]:
    """Mixup or cutmix of a shard, by the recipe: one of them where both are asked for, each as often."""
    recipe = run.settings.recipe
    common = {"num_classes": len(run.data.classes), "label_smoothing": recipe.smoothing}
    cut = bool(recipe.cutmix) and (not recipe.mixup or rng.random() < 0.5)
    if cut:
        return cutmix(x, labels, rng, alpha=recipe.cutmix, **common)  # type: ignore[arg-type]
    return mixup(x, labels, rng, alpha=recipe.mixup, **common)  # type: ignore[arg-type]


def predict(
    model: VisionPermutator,
    split: Split,
    transform: Transform,
    *,
    workers: int = 0,
    crew: Crew | None = None,
    ranks: Ranks | None = None,
) -> HostArray:
    """The logits (n, K) of every picture of `split`, on every rank; ranks, and the threads of `crew`, take batches in
    turn.

    Raises FloatingPointError naming the first picture whose logits are not finite, UnreadableImageError naming a file.
    """
    ranks = ranks or Ranks()
    starts = range(0, len(split), EVALUATION_BATCH)[ranks.rank :: ranks.size]

    def sample(index: int) -> HostArray:
        return transform.evaluation(split.picture(index, transform.channels)).astype(model.dtype)

    def in_turn(first: int, step: int) -> dict[int, HostArray]:
        mine = starts[first::step]
        parts = [range(i, min(i + EVALUATION_BATCH, len(split))) for i in mine]
        made = batches(sample, parts, workers)
        return {start: model.backend.to_numpy(model(x)) for start, (_, x) in zip(mine, made, strict=True)}

    found = [in_turn(0, 1)] if crew is None else crew.run(lambda i: in_turn(i, crew.size), crew.size)
    everywhere = {start: part for rank in ranks.gather(found) for thread in rank for start, part in thread.items()}
    logits: HostArray = np.concatenate([everywhere[start] for start in sorted(everywhere)])
    wrong = ~np.isfinite(logits).all(axis=1)
    if wrong.any():
        raise FloatingPointError(f"the logits of {split.names[int(wrong.argmax())]} are not finite")
    return logits


def states(folder: Path) -> list[Path]:
    """The saved states of a run, oldest first."""
    return sorted((folder / "state").glob("step-*.safetensors"))


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Within this context SIGINT, SIGTERM and SIGHUP only fill the list; a second SIGINT interrupts at once."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def split_rows(data: DataSet) -> list[str]:
    """The lines of split.csv: name (as JSON), class and part of every image."""
    return [
        f"{json.dumps(name)},{json.dumps(data.classes[label])},{part}"
        for part, split in (("train", data.train), ("validation", data.validation))
        for name, label in zip(split.names, split.labels, strict=True)
    ]


def prepare_folder(folder: Path, settings: Settings, data: DataSet, versions: dict[str, str]) -> None:
    """Write config.toml, classes.txt and split.csv of a new run."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        FILE: settings.to_toml({"versions": versions}),
        "classes.txt": "".join(f"{name}\n" for name in data.classes),
        "split.csv": "".join(f"{row}\n" for row in split_rows(data)),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
