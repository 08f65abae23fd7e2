"""A training run in a folder of its own, which can be stopped at any moment and taken up again with the same bits."""

from __future__ import annotations

import math
import operator
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from vipnp.backends import get_backend
from vipnp.backends.numpy.threads import Crew
from vipnp.checkpoint import save_weights
from vipnp.core import Array, Generator, HostArray
from vipnp.data import DataSet, stream
from vipnp.models import VisionPermutator
from vipnp.models.checks import description
from vipnp.optim import AdamW, AdamWState, clip_grad_norm
from vipnp.train.folder import PRODUCTS, RECORD, VERSIONS, read_state, save_state
from vipnp.train.overlap import Exchange, HostSums, data_parallel, sums_over
from vipnp.train.owners import Owners
from vipnp.train.parts import Batches, Part
from vipnp.train.prediction import predict
from vipnp.train.ranks import Ranks, StoppedError
from vipnp.train.saved import BEST, DIVISION, LAST
from vipnp.train.settings import FILE, Settings, recorded, versions
from vipnp.train.shards import shards_of, tree_sum
from vipnp.train.signals import stop_signals
from vipnp.train.transfer import learning_rate_factors, starting_model

COMPARE_EVERY = 100
"""Steps between two comparisons of the weights of all ranks."""

KEPT = "the last state and the best weights are kept: try a smaller --lr"


@dataclass
class Progress:
    """What is told after every step, and after every epoch with its accuracy and the mean of its losses."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    lr: float
    images_per_second: float
    accuracy: float | None = None


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
        self.batches = Batches(settings, data, self.shards)
        self.steps_per_epoch = self.batches.steps_per_epoch
        on_cpu = settings.backend != "cupy"
        options = {"shards": 1} if on_cpu else {"device": self.ranks.local_rank}
        self.backend = get_backend(settings.backend, **options)
        if not on_cpu:
            self.backend.device.use()  # sums over shards are plain arithmetic, on the current device
        self.crew = Crew(threads_for(len(self.shards), self.ranks.cores()) if on_cpu else 1)
        config = settings.config(len(data.classes))
        self.exchange: Exchange | None = None
        self.working = self.backend
        if self.ranks.size > 1:
            self.exchange = Exchange(self.backend, HostSums(self.backend, self.ranks, settings.reduce))
            self.working = data_parallel(self.backend, self.exchange)
        self.model = VisionPermutator(config, backend=self.working, dtype=settings.precision, seed=settings.seed)
        self.optimizer = AdamW(self.backend, weight_decay=settings.recipe.weight_decay)
        self.ema: dict[str, Any] | None = self.model.parameters() if settings.recipe.ema else None
        self.factors = learning_rate_factors(config, settings.recipe.backbone_lr, settings.recipe.layer_decay)
        self.owners: Owners | None = None
        self.step = 0
        self.loss_sum = 0.0
        self.seconds_before = 0.0
        self.best = -1.0

    def connect(self) -> None:
        """Before training, when all ranks have compared what they are: let the fastest way there is add gradients."""
        if self.exchange is not None:
            self.exchange.sums = sums_over(self.ranks, self.backend, self.settings.reduce)

    @property
    def overlaps(self) -> bool:
        """Whether gradients are exchanged beside the backward pass, block by block."""
        whole = self.settings.recipe.grad_accum_steps == 1
        return self.exchange is not None and self.exchange.sums.beside and whole

    def shard_optimizer(self) -> None:
        """Before training: of several ranks, each makes its part of the optimiser's step (vipnp.train.owners)."""
        if self.ranks.size > 1:
            params = self.model.parameters()
            shapes = {name: params[name].shape for name in self.factors}
            self.owners = Owners(self.ranks, self.backend, shapes, self.settings.precision)

    @property
    def updated(self) -> list[str]:
        """The names of the parameters that this process updates, and of which it keeps running means."""
        return list(self.factors) if self.owners is None else self.owners.mine

    def bytes_of_means(self) -> int:
        """What the optimiser keeps in this process."""
        params = self.model.parameters()
        entries = sum(math.prod(params[name].shape) for name in self.updated)
        return int(2 * entries * np.dtype(self.settings.precision).itemsize)

    def take_weights(self) -> None:
        """Begin from the weights of the settings' file. Raises as `vipnp.train.transfer.starting_model`."""
        self.model = starting_model(self.settings, self.data.classes, self.working)
        self.ema = self.model.parameters() if self.settings.recipe.ema else None

    # --- the loop -----------------------------------------------------------------------------------------------------

    def train(
        self,
        *,
        workers: int,
        save_every: int,
        report: Callable[[Progress], None] | None = None,
        show: Callable[[list[Part]], None] | None = None,
    ) -> list[dict[str, Any]]:
        """Train to the end of the last epoch; returns the rows of metrics.csv.

        workers : threads that decode images; the result does not depend on it. save_every : steps between two states
        within an epoch; one is written after every epoch in any case. show : gets the first batch of the run.

        Raises FloatingPointError where a loss or the logits of a held-out image are not finite: the last state and the
        best weights stay as they are.
        Raises StoppedError after a signal (SIGINT, SIGTERM, SIGHUP), when the state is saved.
        """
        recipe, ranks = self.settings.recipe, self.ranks
        with ranks.agreed():
            rows = self._restored()
        ranks.compare({"step": self.step, "weights": self._checksum()})
        with stop_signals() as stop:
            while self.step < recipe.passes * self.steps_per_epoch:
                epoch = self.step // self.steps_per_epoch
                began, seen = time.perf_counter(), 0
                for samples, parts in self.batches.from_step(self.step, workers):
                    if show is not None and self.step == 0:
                        show(parts)
                    seen += samples
                    told = self._one_step(samples, parts, began, seen)
                    if report is not None:
                        report(told)
                    stopped = max(ranks.gather(stop[0] if stop else 0))
                    if self.step % COMPARE_EVERY == 0:
                        ranks.compare({f"weights after step {self.step}": self._checksum()})
                    at_end = self.step % self.steps_per_epoch == 0
                    if not at_end and (stopped or self.step % save_every == 0):
                        self._save_state(rows, self._seconds(began))
                        if stopped:
                            raise StoppedError(stopped)
                rows.append(self._epoch_done(epoch, began, told))
                self.seconds_before = 0.0
                self._save_state(rows)
                if report is not None:
                    told.loss, told.accuracy = rows[-1]["loss"], rows[-1]["accuracy"]
                    report(told)
                stopped = max(ranks.gather(stop[0] if stop else 0))
                if stopped:
                    raise StoppedError(stopped)
        return rows

    def _one_step(self, samples: int, parts: list[Part], began: float, seen: int) -> Progress:
        """A step, by whose end this process has `seen` so many images of the epoch since it `began`."""
        recipe, model = self.settings.recipe, self.model
        lr = recipe.learning_rate(self.step / self.steps_per_epoch)
        loss, found = self._summed(samples, parts)
        grads: Mapping[str, Array] = {name: found[name] for name in self.factors}
        clip = model.backend.find(clip_grad_norm)
        if not math.isfinite(loss):
            _, norm = clip(model.backend, grads, max_norm=1.0)
            raise FloatingPointError(
                f"the loss of step {self.step} is {loss} at learning rate {lr:.3g} (norm of all gradients "
                f"{float(norm):.3g}); {KEPT}"
            )
        if recipe.clip_grad:
            grads, _ = clip(model.backend, grads, max_norm=recipe.clip_grad)
        self._update(grads, lr)
        if self.ema is not None:
            # In this form a weight that stays is its own average, to the last bit.
            now = model.parameters().items()
            self.ema = {name: self.ema[name] + (1 - recipe.ema) * (value - self.ema[name]) for name, value in now}
        self.loss_sum += loss * samples
        self.step += 1
        inside = (self.step - 1) % self.steps_per_epoch + 1
        speed = seen / max(time.perf_counter() - began, 1e-9)
        epoch = (self.step - 1) // self.steps_per_epoch
        return Progress(epoch, recipe.passes, inside, self.steps_per_epoch, loss, lr, speed)

    def _update(self, grads: Mapping[str, Array], lr: float) -> None:
        """A step of AdamW. Its change of a weight is in proportion to the learning rate: a factor on the rate is one on
        the change."""
        params = self.model.parameters()
        old = {name: params[name] for name in self.updated}
        if self.owners is not None:
            grads = {name: grads[name] for name in old}
        new = self.optimizer.update(old, grads, lr=lr) if old else {}
        for name, before in old.items():
            factor = self.factors[name]
            if factor != 1:
                new[name] = before + factor * (new[name] - before)
        self.model.set_parameters({**params, **(new if self.owners is None else self.owners.everywhere(new))})

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
        grads = exchange.finish(None if mine is None else mine[1], model.parameters())
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

    def _loss_and_grads(self, x: HostArray, targets: HostArray, masks: Generator) -> tuple[float, Any]:
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

    # --- what is kept -------------------------------------------------------------------------------------------------

    def _save(self, model: VisionPermutator, name: str) -> None:
        """Write a weight file as `model.save` does, with how the images were divided: it may leave its folder."""
        division = {"validation": self.settings.validation, "seed": self.settings.seed}
        described = description(model.config, model.classes, model.transform)
        save_weights(self.folder / name, model.state_dict(), {**described, DIVISION: division})

    def _epoch_done(self, epoch: int, began: float, told: Progress) -> dict[str, Any]:
        """Evaluate; rank 0 writes last and best weights. Returns the row of metrics.csv."""
        weights = self.model.state_dict()
        if self.ema is not None:
            weights = {name: self.backend.to_numpy(value).copy() for name, value in self.ema.items()}
        model = VisionPermutator.from_weights(
            self.model.config, weights, backend=self.backend, dtype=self.settings.precision
        )
        model.classes, model.transform = self.data.classes, self.transform
        try:
            logits = predict(model, self.data.validation, self.transform, crew=self.crew, ranks=self.ranks)
        except FloatingPointError as error:
            raise FloatingPointError(
                f"{error} after step {self.step}, at learning rate {told.lr:.3g}; {KEPT}"
            ) from error
        accuracy = float(np.mean(logits.argmax(axis=1) == self.data.validation.labels))
        if self.ranks.rank == 0:
            self._save(model, LAST)
        better, self.best = accuracy > self.best, max(accuracy, self.best)
        if better and self.ranks.rank == 0:
            self._save(model, BEST)
        loss = self.loss_sum / len(self.data.train)
        self.loss_sum = 0.0
        return {
            "epoch": epoch + 1,
            "loss": loss,
            "lr": told.lr,
            "accuracy": accuracy,
            "seconds": self._seconds(began),
        }

    def _seconds(self, began: float) -> float:
        """Of this epoch, those before a stop among them."""
        return self.seconds_before + time.perf_counter() - began

    def _save_state(self, rows: list[dict[str, Any]], seconds: float = 0.0) -> None:
        """Rank 0 writes the state, which says nothing of ranks. seconds : of an epoch that is not over."""
        means: dict[str, Mapping[str, Array]] = {
            "exp_avg": self.optimizer.state.exp_avg,
            "exp_avg_sq": self.optimizer.state.exp_avg_sq,
        }
        if self.owners is not None:
            means = {group: self.owners.on_first(found) for group, found in means.items()}
        if self.ranks.rank:
            return
        groups = {"weight": self.model.parameters(), **means, "ema": self.ema or {}}
        on_host = {
            group: {name: self.backend.to_numpy(value) for name, value in found.items()}
            for group, found in groups.items()
        }
        counters = {"step": self.step, "loss_sum": self.loss_sum, "best": self.best, "rows": rows, "seconds": seconds}
        counters[RECORD] = {**recorded(self.settings), PRODUCTS: self.backend.products, VERSIONS: versions()}
        save_state(self.folder, on_host, counters)

    def _restored(self) -> list[dict[str, Any]]:
        """Take up the last state that can be read; the rows of metrics.csv so far."""
        found = read_state(self.folder)
        if found is None:
            return []
        on_host, counters = found
        rows = list(counters["rows"])
        epochs = counters["step"] // self.steps_per_epoch
        if epochs != len(rows) or ("ema" in on_host) != bool(self.settings.recipe.ema):
            raise ValueError(
                f"run: {self.folder / FILE} has another batch_size or ema than the last state was made with: put it "
                "back, or begin another run with --output"
            )
        groups = {
            group: {name: self.backend.asarray(value) for name, value in values.items()}
            for group, values in on_host.items()
        }
        self.model.set_parameters(groups["weight"])
        self.step = counters["step"]
        means = ({name: groups[group][name] for name in self.updated} for group in ("exp_avg", "exp_avg_sq"))
        self.optimizer.state = AdamWState(self.step, *means)
        self.ema = {name: groups["ema"][name] for name in self.model.parameters()} if "ema" in groups else None
        self.loss_sum, self.best = counters["loss_sum"], counters["best"]
        self.seconds_before = counters.get("seconds", 0.0)
        return rows
