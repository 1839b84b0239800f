"""Write one real handwritten digit, one the shipped recipes never train on, to a PNG file: digit_picture.py FILE"""

import sys
from pathlib import Path

import torch
from PIL import Image

from seodang.core.recipe import Recipe
from seodang.core.shipped import recipe_values
from seodang.data.dataset import datasets

recipe = Recipe.of(recipe_values("digits-cnn"))
digits = datasets.make(recipe.data, None, recipe.seed)
digits.prepare()
images, labels = digits.split("test").batch(torch.tensor([7]), None)
mean, std = torch.tensor(digits.facts.inputs.mean), torch.tensor(digits.facts.inputs.std)
pixels = (images[0, 0] * std + mean).clamp(0, 1)

path = Path(sys.argv[1])
path.parent.mkdir(parents=True, exist_ok=True)
Image.fromarray((pixels * 255).round().to(torch.uint8).numpy()).resize((64, 64), Image.Resampling.NEAREST).save(path)
print(f"{path}: a handwritten {labels[0].item()}")
