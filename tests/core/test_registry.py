"""Registries: presets, facts, the user's word, and names that do not exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from seodang.core.config import Config
from seodang.core.errors import ConfigError, SeodangError, UnknownName
from seodang.core.recipe import Choice
from seodang.core.registry import Registry, load_plugin, natural
from seodang.models.base import architectures


class Settings(Config):
    num_classes: int = 10
    width: int = 4


@pytest.fixture
def registry() -> Registry[object]:
    made: Registry[object] = Registry("thing", "seodang.scratch")

    @made.register({"small": Settings(), "large": Settings(width=64)})
    class Thing:
        """A thing for tests."""

        def __init__(self, settings: Settings, *rest: object) -> None:
            self.settings, self.rest = settings, rest

    return made


def test_preset_then_facts_then_the_user(registry: Registry[object]) -> None:
    choice = Choice.of({"name": "large", "width": 7})
    assert registry.settings(choice, {"num_classes": 3, "unrelated": 1}) == Settings(num_classes=3, width=7)
    assert registry.make(Choice(name="large")).settings.width == 64  # type: ignore[attr-defined]


def test_the_user_may_not_contradict_the_data(registry: Registry[object]) -> None:
    choice = Choice.of({"name": "small", "num_classes": 1000})
    with pytest.raises(ConfigError) as caught:
        registry.settings(choice, {"num_classes": 10})
    assert str(caught.value) == "thing.num_classes=1000, but the data has 10. Remove the setting or change the data."


def test_unknown_names_and_settings_suggest(registry: Registry[object]) -> None:
    with pytest.raises(
        UnknownName, match=r"no thing called 'smal'. Did you mean 'small'\? See them all: seodang list things"
    ):
        registry["smal"]
    with pytest.raises(ConfigError, match=r"thing.widht: is not a setting here. Did you mean 'width'\?"):
        registry.settings(Choice.of({"name": "small", "widht": 3}))


def test_a_name_cannot_be_taken_twice(registry: Registry[object]) -> None:
    with pytest.raises(SeodangError, match="registered twice"):

        @registry.register({"small": Settings()})
        class Other:
            """Another."""


def test_natural_order() -> None:
    assert sorted(["resnet101", "resnet18", "a10", "a9"], key=natural) == ["a9", "a10", "resnet18", "resnet101"]


@pytest.mark.parametrize("text", ["os.system", "seodang.models.mlp", "../mlp", "mlp.__class__", "", "a b"])
def test_names_are_looked_up_never_imported(text: str) -> None:
    with pytest.raises(UnknownName):
        architectures[text]


def test_plugins_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(SeodangError, match="a plug-in is one Python file"):
        load_plugin(tmp_path / "nothing.py")
    (tmp_path / "broken.py").write_text("1 / 0")
    with pytest.raises(SeodangError, match="could not be imported: ZeroDivisionError"):
        load_plugin(tmp_path / "broken.py")
