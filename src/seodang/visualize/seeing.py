"""What in a picture makes a network say a class: Grad-CAM, guided gradients, integrated gradients and occlusion side by side."""

from __future__ import annotations

from torch import Tensor, nn

from seodang.core.inputs import Facts, ImageInputs
from seodang.core.language import say
from seodang.visualize.attribution import black, integrated_gradients
from seodang.visualize.backward import Rule, class_gradient, forward, last_maps, no_maps
from seodang.visualize.figure import Figure, Images, Pixels
from seodang.visualize.gradcam import gradcam, on_picture
from seodang.visualize.heat import gradient_picture, over, signed
from seodang.visualize.inside import recorded
from seodang.visualize.occlusion import occlusion
from seodang.visualize.pixels import SMALL, activation_picture, picture
from seodang.visualize.scale import number, percent

MOST_CHANNELS = 256


def maps_figure(model: nn.Module, example: Tensor, facts: Facts, target: int, layer: str = "") -> Images:
    """Return the maps that say why, for one picture (a batch of one) and the class `target`.

    Grad-CAM is left out where there is no layer with places, guided gradients where there is no rectifier.
    """
    inputs = facts.inputs
    assert isinstance(inputs, ImageInputs)
    shown = picture(example[0], inputs)
    name = facts.classes[target] if facts.classes else str(target)
    made = forward(model, example)
    chance = float(made.logits[0].detach().float().softmax(-1)[target])
    images: list[Pixels] = [shown]
    captions = [say("input") + "\n" + f"{name} {percent(chance)}"]
    size = (example.shape[-2], example.shape[-1])
    places, empty = None, False
    if layer or last_maps(model, made.kept):
        path, maps = gradcam(model, example, target, layer)
        places = on_picture(maps, size)[0]
        empty = not bool(places.any())
        images.append(over(shown, places))
        captions.append(f"Grad-CAM\n{path}")
    missing = []
    rules: list[Rule] = ["plain", "guided"] if made.rectifiers else ["plain"]
    for rule in rules:
        gradient = class_gradient(model, example, target, rule)[0]
        images.append(gradient_picture(gradient))
        captions.append(say("gradient") if rule == "plain" else say("guided gradient"))
        if rule == "guided" and places is not None:
            images.append(gradient_picture(gradient * places))
            captions.append(say("guided Grad-CAM"))
    if empty:
        missing.append(
            say("Grad-CAM is empty: no place of its layer speaks for this class by the mean of the gradients.")
        )
    if not made.rectifiers:
        missing.append(say("There is no guided gradient: the network has no rectifiers."))
    if places is None:
        missing.append(say("There is no Grad-CAM: no layer gives maps of more than one place."))
    added = integrated_gradients(model, example[0], target, black(inputs))
    images.append(signed(added.values))
    captions.append(say("integrated gradients") + "\n" + say("{found} of {whole} explained", found=number(added.difference - added.gap),
                                                            whole=number(added.difference)))  # fmt: skip
    hidden = occlusion(model, example, target)
    images.append(signed(hidden.drop))
    captions.append(say("occlusion") + "\n" + say("lowest {share}", share=percent(float(hidden.probabilities.min()))))
    about = say("For {name}. Grad-CAM: yellow is what speaks for it. Gradients: grey is nothing. Integrated gradients and occlusion: "
                "orange speaks for it, blue against it; occlusion hides squares of {side}×{side} pixels.", name=name,
                side=hidden.square[0])  # fmt: skip
    return Images(say("What speaks for {name}", name=name), say("{count} maps of what in the picture speaks for {name}.",
                  count=len(images) - 1, name=name), tuple(images), tuple(captions), columns=4, smooth=max(size) > SMALL,
                  about=" ".join([about, *missing]), name="maps")  # fmt: skip


def layer_maps(model: nn.Module, example: Tensor, layer: str) -> Figure:
    """Return every channel of one layer for one picture.

    Raises: ConfigError if that layer gives no maps.
    """
    kept = recorded(model, example)
    value = kept.get(layer)
    if value is None or value.ndim != 4:
        raise no_maps(layer, [path for path, maps in kept.items() if path and maps.ndim == 4])
    channels = value[0][:MOST_CHANNELS]
    low, high = float(channels.min()), float(channels.max())
    images = tuple(activation_picture(channel, low, high) for channel in channels)
    size = " × ".join(map(str, value.shape[1:]))
    return Images(say("Activation maps of {layer}", layer=layer), say("{count} channels.", count=len(images)), images,
                  tuple(str(channel) for channel in range(len(images))), columns=8, name=f"activations-{layer}",
                  about=say("{size}. From {low} (dark) to {high} (yellow).", size=size, low=number(low), high=number(high)))  # fmt: skip
