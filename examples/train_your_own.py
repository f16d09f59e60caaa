"""Your own model in minutes: python examples/train_your_own.py photos/ my_run 5

Trains the tiny preset on a folder of pictures, writes the model, and uses it. The command line
does the same: vqcodec train --data photos/ --out my_run --preset tiny --minutes 5
"""

import sys
from dataclasses import replace
from pathlib import Path

from vqcodec import Codec
from vqcodec.image import pixels
from vqcodec.train.loop import Trainer
from vqcodec.train.presets import tiny

photos, run, minutes = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
trainer = Trainer(replace(tiny(), minutes=minutes), [photos], run, None)
trainer.run()
model = trainer.export(run / "model")
print(f"model {model.id.hex()} in {run / 'model'}")

codec = Codec.load(run / "model")
picture = pixels.load(min(path for path in photos.iterdir() if path.is_file()))
data = codec.encode(picture, quality=50)
print(f"{picture.rgb.shape[1]}x{picture.rgb.shape[0]} in {len(data)} bytes")
assert codec.decode(data).size == picture.rgb.shape[1::-1]
