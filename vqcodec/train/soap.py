"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner.

Vyas et al. 2024, "SOAP: Improving and stabilizing Shampoo using Adam", arXiv:2409.11321.
Matrices of one shape are stacked and updated together. With several processes each updates
its share of the matrices (their gradients must be equal everywhere) and then all exchange
parameters, so that the cost of the preconditioners is shared. `turn` is the type in which gradients
are turned into the eigenbasis and back; covariances and bases are in float32. With bfloat16 that
takes a quarter of the time and less where the processor has it, and noisy gradients lose nothing.
"""

import torch
from torch import Tensor
from torch import distributed as dist

MAX_SIDE = 640  # longer sides are not preconditioned


class Stack:
    """The matrices of one shape that this process updates, with their state."""

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

    def accumulate(self, g: Tensor, beta: float) -> None:
        left, right = self.sides
        if left:
            left[0].baddbmm_(g, g.mT, beta=beta, alpha=1 - beta)
        if right:
            right[0].baddbmm_(g.mT, g, beta=beta, alpha=1 - beta)

    def refresh(self) -> None:
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
            side[1] = torch.linalg.qr(product.gather(2, pick)).Q
            shape = [len(order), 1, 1]
            shape[axis] = -1
            index = order.view(shape).expand_as(self.variance)
            self.variance = self.variance.gather(axis, index)


def matrix_shape(param: Tensor) -> tuple[int, int]:
    return param.shape[0], param[0].numel()


class Soap:
    """Steps all `params`, matrices or convolution weights, by SOAP."""

    def __init__(
        self, params: list[Tensor], betas=(0.95, 0.95), eps=1e-8, every=10, turn=torch.float32
    ):
        self.params, self.betas, self.eps, self.every = params, betas, eps, every
        self.count = 0
        shares = dist.get_world_size() if dist.is_initialized() else 1
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
        beta1, beta2 = self.betas
        for stack in self.stacks:
            g = stack.grads()
            if self.count == 1:  # the first gradient only starts the preconditioner
                stack.accumulate(g, 0.0)
                for _ in range(3):
                    stack.refresh()
                continue
            turned = stack.project(g)
            stack.momentum.lerp_(g, 1 - beta1)
            stack.variance.mul_(beta2).addcmul_(turned, turned, value=1 - beta2)
            scale = (1 - beta2 ** (self.count - 1)) ** 0.5 / (1 - beta1 ** (self.count - 1))
            update = stack.project(stack.momentum) / (stack.variance.sqrt() + self.eps)
            update = stack.project(update, back=True) * (-rate * scale)
            for p, u in zip(stack.params, update, strict=True):
                p.add_(u.view_as(p))
            stack.accumulate(g, beta2)
            if self.count % self.every == 0:
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

    def load_state_dict(self, state: dict) -> None:
        self.count = state["count"]
        for stack, saved in zip(self.stacks, state["stacks"], strict=True):
            stack.momentum, stack.variance = saved["m"], saved["v"]
            stack.sides = saved["sides"]
