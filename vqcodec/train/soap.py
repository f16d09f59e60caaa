"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner.

Vyas et al. 2024, "SOAP: Improving and stabilizing Shampoo using Adam", arXiv:2409.11321.
Matrices of one shape are stacked and updated together. With several processes each updates
its share of the matrices (their gradients must be equal everywhere) and then all exchange
parameters, so that the cost of the preconditioners is shared. `turn` is the type in which gradients
are turned into the eigenbasis and back; covariances and bases are in float32. With bfloat16 that
takes a quarter of the time and less where the processor has it, and noisy gradients lose nothing.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch import distributed as dist

MAX_SIDE = 640  # longer sides are not preconditioned
BETAS, EPSILON = (0.95, 0.95), 1e-8
EARLY = 10  # steps between the first refreshes of bases

Orthonormal = Callable[[Tensor], Tensor]  # `qr` or `cholesky_qr`


def qr(x: Tensor) -> Tensor:
    """Orthonormal columns that span what those of x [n, a, a] span, each what it adds to those
    before it."""
    return torch.linalg.qr(x).Q


def cholesky_qr(x: Tensor) -> Tensor:
    """As `qr`, up to signs: by Cholesky of the products of normalised columns, twice (CholeskyQR2,
    Yamamoto et al. 2015), which a GPU computes many times as fast; by `qr` where columns are too
    much alike for it. Waits for the device once."""
    q, failed = x, 0
    for _ in range(2):
        q = q / q.norm(dim=1, keepdim=True).clamp(min=1e-30)
        low, info = torch.linalg.cholesky_ex(q.mT @ q)
        failed = failed + info.abs().sum()
        q = torch.linalg.solve_triangular(low.mT, q, upper=True, left=False)
    return q if bool((failed == 0) & torch.isfinite(q).all()) else qr(x)


class Stack:
    """The matrices of one shape that this process updates, with their state [n, rows, columns]."""

    def __init__(self, params: list[Tensor], turn: torch.dtype):
        self.params, self.turn = params, turn
        rows, columns = matrix_shape(params[0])
        like = params[0].new_zeros(len(params), rows, columns, dtype=torch.float32)
        self.momentum, self.variance = like, like.clone()
        self.sides = [self._side(rows, like), self._side(columns, like)]

    @staticmethod
    def _side(size: int, like: Tensor) -> list[Tensor] | None:
        if size > MAX_SIDE:
            return None
        eye = torch.eye(size, device=like.device).repeat(len(like), 1, 1)
        return [torch.zeros_like(eye), eye]  # covariance, basis

    def grads(self) -> Tensor:
        return torch.stack([p.grad.float().reshape(self.momentum.shape[1:]) for p in self.params])

    def project(self, x: Tensor, back: bool = False) -> Tensor:
        left, right = (side and side[1].to(self.turn) for side in self.sides)
        x = x.to(self.turn)
        if left is not None:
            x = (left if back else left.mT) @ x
        if right is not None:
            x = x @ (right.mT if back else right)
        return x.float()

    def begin(self, g: Tensor, orthonormal: Orthonormal = qr) -> None:
        """Take the first gradients, which only start the preconditioner."""
        self.accumulate(g, 0.0)
        for _ in range(3):
            self.refresh(orthonormal)

    def update(self, g: Tensor, weights: tuple[float | Tensor, float | Tensor]) -> Tensor:
        """Take gradients [n, rows, columns] with these weights into the moving averages of first
        and second moments. Returns the step down, but for the rate and the averages' start."""
        turned = self.project(g)
        self.momentum.lerp_(g, weights[0])
        self.variance.lerp_(turned.square(), weights[1])
        update = self.project(self.momentum) / (self.variance.sqrt() + EPSILON)
        update = self.project(update, back=True)
        self.accumulate(g, BETAS[1])
        return update

    def accumulate(self, g: Tensor, beta: float) -> None:
        left, right = self.sides
        if left:
            left[0].baddbmm_(g, g.mT, beta=beta, alpha=1 - beta)
        if right:
            right[0].baddbmm_(g.mT, g, beta=beta, alpha=1 - beta)

    def refresh(self, orthonormal: Orthonormal = qr) -> None:
        """One power iteration and QR for each side; variances follow the sorted basis."""
        for axis, side in enumerate(self.sides, 1):
            if side is None:
                continue
            covariance, basis = side
            # The ridge keeps the basis where there was no gradient yet.
            trace = covariance.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
            product = covariance @ basis + (1e-7 * trace + 1e-30) * basis
            order = (basis * product).sum(1).argsort(1, descending=True)
            pick = order[:, None, :].expand_as(product)
            basis.copy_(orthonormal(product.gather(2, pick)))
            shape = [len(order), 1, 1]
            shape[axis] = -1
            index = order.view(shape).expand_as(self.variance)
            self.variance.copy_(self.variance.gather(axis, index))


def matrix_shape(param: Tensor) -> tuple[int, int]:
    return param.shape[0], param[0].numel()


class Soap:
    """Steps all `params`, matrices or convolution weights, by SOAP."""

    def __init__(
        self, params: list[Tensor], every: int = 10, turn=torch.float32, shared: bool = True
    ):
        """every: steps from one refresh of the bases to the next. shared: among the processes."""
        self.params, self.every, self.count = params, every, 0
        shares = dist.get_world_size() if shared and dist.is_initialized() else 1
        rank = dist.get_rank() if shares > 1 else 0
        shapes = sorted({matrix_shape(p) for p in params})
        alike = [[p for p in params if matrix_shape(p) == shape] for shape in shapes]
        ordered = [p for group in alike for p in group]
        owned = {id(p) for p in ordered[rank::shares]}
        groups = [[p for p in group if id(p) in owned] for group in alike]
        self.shared = shares > 1
        self.owned = owned
        self.stacks = [Stack(group, turn) for group in groups if group]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        self.count += 1
        weights = 1 - BETAS[0], 1 - BETAS[1]
        for stack in self.stacks:
            g = stack.grads()
            if self.count == 1:
                stack.begin(g)
                continue
            update = stack.update(g, weights) * (-rate * started(self.count - 1))
            for p, u in zip(stack.params, update, strict=True):
                p.add_(u.view_as(p))
            if is_due(self.count, self.every):
                stack.refresh()
        if self.shared:
            self._exchange()

    def _exchange(self) -> None:
        """Give every process the parameters that the others have stepped."""
        flat = torch.cat([(p if id(p) in self.owned else p * 0).flatten() for p in self.params])
        dist.all_reduce(flat)
        offset = 0
        for p in self.params:
            p.copy_(flat[offset : offset + p.numel()].view_as(p))
            offset += p.numel()

    def state_dict(self) -> dict:
        stacks = [{"m": s.momentum, "v": s.variance, "sides": s.sides} for s in self.stacks]
        return {"count": self.count, "stacks": stacks}

    def fits(self, state: dict) -> bool:
        """Whether a state is of the same matrices; other processes may share them otherwise."""
        shapes = [item["m"].shape for item in state["stacks"]]
        return shapes == [stack.momentum.shape for stack in self.stacks]

    def load_state_dict(self, state: dict) -> None:
        self.count = state["count"]
        for stack, saved in zip(self.stacks, state["stacks"], strict=True):
            stack.momentum.copy_(saved["m"])
            stack.variance.copy_(saved["v"])
            for side, other in zip(stack.sides, saved["sides"], strict=True):
                for mine, theirs in zip(side or (), other or (), strict=True):
                    mine.copy_(theirs)


def is_due(step: int, every: int) -> bool:
    """Whether bases are refreshed after this step, counted from 1; more often at first, when they
    turn fast."""
    return step % (every if step > every else min(every, EARLY)) == 0


def started(steps: float | Tensor) -> float | Tensor:
    """What an update takes to be of full size after so many steps: averages start at zero."""
    return (1 - BETAS[1] ** steps) ** 0.5 / (1 - BETAS[0] ** steps)
