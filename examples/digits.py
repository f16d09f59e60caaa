"""A VQ-VAE of 28x28 digits from nothing, in two minutes: python examples/digits.py out 2

Of scikit-learn's digits, enlarged, or those of a third argument: numpy's file of uint8
[N, 28, 28], MNIST say. Draws the loss, out/curves.png; digits_look.py shows what was learnt.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vqcodec.nn.model import Network
from vqcodec.train.loop import Trainer, fit_linear
from vqcodec.train.presets import tiny


class Digits:
    """In place of crops of photographs."""

    def __init__(self, digits: np.ndarray):
        self.digits = digits

    def varied(self, count: int, size: int) -> torch.Tensor:
        picked = self.digits[torch.randint(len(self.digits), (count,)).numpy()]
        padded = np.pad(picked, ((0, 0), (0, 4), (0, 4)), "edge")  # to blocks of 16
        return torch.from_numpy(padded)[:, None].expand(-1, 3, -1, -1) / 255


out, minutes = Path(sys.argv[1]), float(sys.argv[2])
if len(sys.argv) > 3:
    digits = np.load(sys.argv[3])
else:
    from sklearn.datasets import load_digits

    small = (load_digits().images * 15.9).astype(np.uint8)
    digits = np.stack([np.asarray(Image.fromarray(d).resize((28, 28))) for d in small])
test, train = Digits(digits[:50]), Digits(digits[50:])
out.mkdir(exist_ok=True)
sheet = np.block([list(row) for row in test.digits.reshape(5, 10, 28, 28)])
Image.fromarray(sheet).save(out / "test.png")
config = replace(tiny(), minutes=minutes, batch=32, crop=32, late_crop=32)
network = Network(config.model)
fit_linear(network, train)  # PCA
trainer = Trainer(config, [out / "test.png"], out, network)
trainer.crops = train
trainer.validation.x = trainer.validation.degraded = test.varied(12, 32)
trainer.run()
print(f"model {trainer.export(out / 'model').id.hex()} in {out / 'model'}")
