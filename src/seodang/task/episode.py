"""Episode: one game of an agent as a film, with the values it gives its actions at every step."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, sin
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from seodang.core.language import say
from seodang.data.environments import make_world
from seodang.task.pictures import Picture

WIDTH, HEIGHT, MIDDLE = 360, 200, 100
INK, PAPER, FAINT, CART, POLE, CHOSEN = "#1b1b1b", "#ffffff", "#d8d8d8", "#2f5d8c", "#c98a3a", "#2f8c5d"
LONGEST = 1_000
"""Steps after which a film ends, for worlds without an end."""

Values = Callable[[Tensor], Tensor]
"""From observations (B, D) to the values of the actions (B, A)."""


def film_episode(environment: str, values: Values, seed: int, every: int = 2) -> Picture:
    """Play one episode greedily and film every second step, 40 milliseconds each.

    CartPole is drawn here. Other worlds draw themselves, where Gymnasium has what it needs to; else their
    observations are shown as bars, and the text under the film says why.
    """
    cartpole = environment.startswith("CartPole-")
    world = make_world(environment, render=not cartpole)
    why = ""
    moments, total, steps, over = [], 0.0, 0, False
    observation, _ = world.reset(seed=seed)
    while True:
        worths = values(torch.tensor(np.asarray(observation), dtype=torch.float32)[None])[0]
        if steps % every == 0 or over:
            stage, why = (draw_cartpole(observation), "") if cartpole else rendered(world, observation)
            moments.append((stage, worths, steps, total))
        if over or steps == LONGEST:
            break
        observation, reward, terminated, truncated, _ = world.step(int(worths.argmax()))
        total, steps, over = total + float(reward), steps + 1, terminated or truncated
    world.close()
    largest = max(float((worths - worths.mean()).abs().max()) for _, worths, _, _ in moments) or 1.0
    frames = [draw_frame(stage, worths, largest, step, so_far) for stage, worths, step, so_far in moments]
    about = say("Return {total:g} in {steps} steps (episode seed {seed}). Bars: how far the value of each action is above "
                "or below their mean; green is chosen.", total=total, steps=steps, seed=seed)  # fmt: skip
    images = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
    return Picture(say("An episode of {name}", name=environment), images, 1, f"{about} {why}".strip(), "film", 40)


def draw_cartpole(observation: Any) -> Image.Image:
    """Return a picture of the track, the cart and its pole.

    Units: position in metres, drawn from -2.4 to 2.4 (beyond which the episode ends); angle in radians.
    """
    position, angle = float(observation[0]), float(observation[2])
    image = Image.new("RGB", (240, HEIGHT), PAPER)
    draw = ImageDraw.Draw(image)
    ground = 150
    across = 120 + position / 2.4 * 110
    draw.line([(10, ground), (230, ground)], fill=INK)
    for edge in (10, 230):
        draw.line([(edge, ground - 6), (edge, ground + 6)], fill=INK)
    draw.rectangle([across - 20, ground - 12, across + 20, ground + 10], fill=CART)
    top = (across + 100 * sin(angle), ground - 10 - 100 * cos(angle))
    draw.line([(across, ground - 10), top], fill=POLE, width=7)
    draw.ellipse([across - 4, ground - 14, across + 4, ground - 6], fill=INK)
    return image


def rendered(world: Any, observation: Any) -> tuple[Image.Image, str]:
    """Return the world's own picture; or bars of what the agent sees, and why."""
    import gymnasium  # lazy: 0.1 s

    try:
        drawn = world.render()
        reason = "render() → None"
    except (gymnasium.error.DependencyNotInstalled, NotImplementedError) as error:
        drawn, reason = None, str(error) or type(error).__name__
    if drawn is None:
        why = say("The world cannot draw itself here ({reason}): the numbers the agent sees are shown.", reason=reason)
        return draw_bars(np.asarray(observation, dtype=float)), why
    image = Image.fromarray(np.asarray(drawn, dtype=np.uint8))
    image.thumbnail((240, HEIGHT))
    return image, ""


def draw_bars(numbers: np.ndarray) -> Image.Image:
    """Return a picture of numbers as bars around zero, squashed to -1…1 by x / (1 + |x|)."""
    image = Image.new("RGB", (240, HEIGHT), PAPER)
    draw = ImageDraw.Draw(image)
    step = 220 / len(numbers)
    draw.line([(10, MIDDLE), (230, MIDDLE)], fill=INK)
    for index, number in enumerate(numbers / (1 + np.abs(numbers))):
        left, level = 10 + step * index, MIDDLE - 80 * number
        draw.rectangle([left, min(MIDDLE, level), left + step * 0.8, max(MIDDLE, level)], fill=CART)
    return image


def draw_frame(stage: Image.Image, worths: Tensor, largest: float, steps: int, total: float) -> np.ndarray:
    """Return one frame (H, W, 3): the stage, the count of steps, and a bar for each action.

    A bar is the action's value less the mean of all, on a scale to `largest`; under a few, the value itself.
    """
    frame = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    frame.paste(stage, (0, (HEIGHT - stage.height) // 2))
    draw = ImageDraw.Draw(frame)
    font = ImageFont.load_default(11)
    draw.text((8, 6), f"t = {steps}    R = {total:g}", fill=INK, font=font)  # the font has no Korean
    step, best = 100 / len(worths), int(worths.argmax())
    for index, bar in enumerate(((worths - worths.mean()) / largest).tolist()):
        left, level = 250 + step * index, MIDDLE - 75 * bar
        draw.rectangle([left, min(MIDDLE, level), left + step * 0.7, max(MIDDLE, level)],
                       fill=CHOSEN if index == best else FAINT)  # fmt: skip
        if len(worths) <= 3:
            draw.text((left, 184), f"{worths[index]:.4g}", fill=INK, font=font)
    draw.line([(248, MIDDLE), (352, MIDDLE)], fill=INK)
    return np.asarray(frame)
