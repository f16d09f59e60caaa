"""The optimiser's step on stacked tensors without decisions by data, so that a CUDA graph can hold
it: clipping, SOAP, Adam and the averages of the weights.

Parameters, gradients and averages become views of three tensors, in which the matrices of one
shape are one stack. The state lies in the objects `Soap` and `Adam` that step on CPUs, so that
checkpoints are the same and a run may go on on the other kind of device. The result is that of
their steps; tests compare.
"""

import math

import torch
from torch import Tensor

from .soap import BETAS, Soap, Stack, cholesky_qr, matrix_shape, started

ALIGNED = 32  # numbers: where stacks begin, for fast matrix products


class Flat:
    """Tensors [n, ...] of parameters in a row, and views of them."""

    def __init__(self, stacks: list[Stack], vectors: list[Tensor]):
        self.groups, self.params, self.places = [], [], []
        at = 0
        for params in (*(stack.params for stack in stacks), vectors):
            begin = at
            for p in params:
                self.params.append(p)
                self.places.append(slice(at, at + p.numel()))
                at += p.numel()
            self.groups.append(slice(begin, at))
            at = math.ceil(at / ALIGNED) * ALIGNED
        self.size = at

    def views(self, flat: Tensor) -> list[Tensor]:
        """Of each parameter, in its shape."""
        pairs = zip(self.params, self.places, strict=True)
        return [flat[place].view(p.shape) for p, place in pairs]

    def stacks(self, flat: Tensor) -> list[Tensor]:
        """Of each stack, [n, rows, columns]."""
        ends, found = 0, []
        for group in self.groups[:-1]:
            first = self.params[ends]
            found.append(flat[group].view(-1, *matrix_shape(first)))
            ends += len(found[-1])
        return found

    def vectors(self, flat: Tensor) -> Tensor:
        return flat[self.groups[-1]]


class StaticOptimiser:
    """Steps the parameters of `soap` and `adam`, and moves on their averages.

    A step takes the gradients in `grads`, views of `flat_grads`. What differs from step to step
    is written by `prepare`; a step waits for nothing.
    """

    def __init__(
        self,
        soap: Soap,
        soap_rate: float,
        adam: torch.optim.Adam,
        averages: dict[str, Tensor],
        names: dict[int, str],
    ):
        """soap, adam: what holds the state; a group of the latter has its rate as `base`. averages:
        of parameters, by name; those that are stepped become views. names: of parameters, by id."""
        self.soap, self.soap_rate, self.adam = soap, soap_rate, adam
        vectors = [p for group in adam.param_groups for p in group["params"]]
        self.flat = flat = Flat(soap.stacks, vectors)
        self.names = [names[id(p)] for p in flat.params]
        device = flat.params[0].device
        self.data = torch.zeros(flat.size, device=device)
        self.flat_grads, self.averages = torch.zeros_like(self.data), torch.zeros_like(self.data)
        self.grads = flat.views(self.flat_grads)
        for p, view in zip(flat.params, flat.views(self.data), strict=True):
            view.copy_(p.detach())
            p.data = view
        like = flat.vectors(self.data)
        self.moments = torch.zeros_like(like), torch.zeros_like(like)  # Adam's
        rates = [
            torch.full((p.numel(),), g["base"]) for g in adam.param_groups for p in g["params"]
        ]
        self.rates = torch.cat(rates).to(device)
        self.rate, self.fading, self.clip, self.norm, self.ok, self.soap_steps, self.adam_steps = (
            torch.zeros((), device=device) for _ in range(7)
        )
        self.take_averages(averages)

    def changed(self) -> list[Tensor]:
        """All tensors that a step changes."""
        sides = [x for stack in self.soap.stacks for side in stack.sides for x in side or ()]
        moments = [x for stack in self.soap.stacks for x in (stack.momentum, stack.variance)]
        scalars = [self.norm, self.ok, self.soap_steps, self.adam_steps]
        return [
            self.data,
            self.flat_grads,
            self.averages,
            *self.moments,
            *moments,
            *sides,
            *scalars,
        ]

    def take_averages(self, averages: dict[str, Tensor]) -> None:
        """Go on from these, which become views."""
        for name, view in zip(self.names, self.flat.views(self.averages), strict=True):
            view.copy_(averages[name])
            averages[name] = view

    def store(self) -> None:
        """Write what `soap` and `adam` have not yet."""
        steps = float(self.adam_steps)
        self.soap.count = int(self.soap_steps)
        offset = 0
        for p in (p for group in self.adam.param_groups for p in group["params"]):
            part, offset = slice(offset, offset + p.numel()), offset + p.numel()
            first, second = (moment[part].view(p.shape) for moment in self.moments)
            state = {"step": torch.tensor(steps), "exp_avg": first, "exp_avg_sq": second}
            self.adam.state[p] = state

    def load(self) -> None:
        """Go on from what `soap` and `adam` have."""
        state = [self.adam.state[p] for g in self.adam.param_groups for p in g["params"]]
        if not all(state):  # nothing has been stepped yet
            return
        for moment, name in zip(self.moments, ("exp_avg", "exp_avg_sq"), strict=True):
            moment.copy_(torch.cat([item[name].flatten() for item in state]))
        self.adam_steps.fill_(float(state[0]["step"]))
        self.soap_steps.fill_(self.soap.count)

    def prepare(self, factor: float, decay: float, clip: float) -> None:
        """factor: of the rates. decay: of the averages, what stays of them. clip: of the gradient,
        times the running norm, or infinite."""
        self.rate.fill_(factor)
        self.fading.fill_(1 - decay)
        self.clip.fill_(clip)

    @torch.no_grad()
    def begin(self) -> bool:
        """The first step: a gradient that is finite starts SOAP's preconditioners. Waits for it,
        and returns whether it was."""
        self._clip()
        if not bool(self.ok):
            return False
        self.soap.count = 1  # from now on known to the device alone
        for stack, g in zip(self.soap.stacks, self.flat.stacks(self.flat_grads), strict=True):
            stack.begin(g, cholesky_qr)
        self._finish()
        return True

    @torch.no_grad()
    def step(self) -> None:
        """A gradient that is not finite changes nothing but the scale of SOAP's covariances, which
        does not matter."""
        self._clip()
        weights = (1 - BETAS[0]) * self.ok, (1 - BETAS[1]) * self.ok
        rate = self.rate * self.soap_rate * started((self.soap_steps - 1).clamp(min=1)) * self.ok
        stacks = zip(
            self.soap.stacks,
            self.flat.stacks(self.flat_grads),
            self.flat.stacks(self.data),
            strict=True,
        )
        for stack, g, data in stacks:
            data.sub_(stack.update(g, weights).mul_(rate))
        self._finish()

    @torch.no_grad()
    def refresh(self) -> None:
        for stack in self.soap.stacks:
            stack.refresh(cholesky_qr)

    def _clip(self) -> None:
        """To `clip` times the running norm."""
        total = self.flat_grads.norm()
        ok = torch.isfinite(total)
        limit = torch.where(self.norm > 0, self.clip * self.norm, math.inf)
        scaled = self.flat_grads * (limit / (total + 1e-6)).clamp(max=1.0)
        self.flat_grads.copy_(torch.where(ok, scaled, 0.0))
        held = torch.minimum(total, limit)
        norm = torch.where(self.norm > 0, self.norm + 0.02 * (held - self.norm), held)
        self.norm.copy_(torch.where(ok, norm, self.norm))
        self.ok.copy_(ok)
        self.soap_steps.add_(self.ok)
        self.adam_steps.add_(self.ok)

    def _finish(self) -> None:
        """Adam's step for the vectors, and the averages."""
        g, data = self.flat.vectors(self.flat_grads), self.flat.vectors(self.data)
        settings = self.adam.param_groups[0]
        betas, moments = settings["betas"], self.moments
        for moment, value, beta in zip(moments, (g, g.square()), betas, strict=True):
            moment.lerp_(value, (1 - beta) * self.ok)
        count = self.adam_steps.clamp(min=1)
        first, second = (m / (1 - b**count) for m, b in zip(moments, betas, strict=True))
        update = first / (second.sqrt() + settings["eps"])
        data.sub_(update * self.rates * (self.rate * self.ok))
        self.averages.lerp_(self.data, self.fading * self.ok)
