"""Language modelling: sums over counted places, perplexity, a run through the one loop, streamed answers."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import seodang as sd
from seodang.api import open_bundle
from seodang.core.errors import ConfigError, DataError
from seodang.core.inputs import Facts, TokenInputs
from seodang.core.recipe import Choice
from seodang.data.dataset import TokenBatch, datasets, in_order
from seodang.models.gpt import GPT, GPTConfig
from seodang.task import language_modeling
from seodang.task.base import tasks
from tests.harness import assert_resume_is_exact

LINES = "the cat sat on the mat. the dog sat on the log. " * 40


def recipe_for(path: Path, **train) -> dict:
    return {
        "name": "tiny-gpt",
        "model": {"name": "gpt", "num_layers": 2, "num_heads": 2, "embed_dim": 32, "dropout": 0.1},
        "data": {"name": "text", "path": str(path), "context": 24},
        "task": {"name": "language-modeling"},
        "optimizer": {"name": "adamw", "lr": 0.01, "betas": [0.9, 0.99], "schedule": "cosine", "warmup": 10},
        "train": {"steps": 80, "batch_size": 16, "threads": 1, "precision": "float32", "clip": 1.0, **train},
    }


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("story") / "story.txt"
    path.write_text(LINES)
    return path


@pytest.fixture(scope="module")
def run(story, tmp_path_factory):
    return sd.train(recipe_for(story), run=tmp_path_factory.mktemp("runs") / "gpt")


@pytest.fixture
def task():
    facts = Facts(inputs=TokenInputs(vocab_size=11, length=6), sizes={"train": 9})
    return tasks.make(Choice.of({"name": "language-modeling"}), None, facts)


@pytest.fixture
def model():
    return GPT(GPTConfig(vocab_size=11, num_layers=1, num_heads=2, embed_dim=8, max_len=6, init_std=0.5)).eval()


def some_batch(rows: int, padded: int = 0) -> TokenBatch:
    targets = torch.randint(11, (rows, 6))
    targets.view(-1)[rows * 6 - padded :] = -1
    return TokenBatch(torch.randint(11, (rows, 6)), targets)


def loss_by_hand(model, batch) -> tuple[float, int]:
    total, count = 0.0, 0
    with torch.no_grad():
        for row, targets in zip(*batch, strict=True):
            logits = model(row[None])[0].double()
            for place, target in enumerate(targets.tolist()):
                if target >= 0:
                    total -= math.log(math.exp(logits[place, target]) / sum(map(math.exp, logits[place].tolist())))
                    count += 1
    return total, count


# ------------------------------------------------------------------------------------ losses and scores


def test_twice_the_batch_is_twice_the_loss(task, model):
    batch = some_batch(5, padded=8)
    twice = TokenBatch(*(torch.cat([field, field]) for field in batch))
    ((name, once),), ((_, double),) = task.losses(model, batch), task.losses(model, twice)
    assert name == "model"
    assert double.item() == pytest.approx(2 * once.item(), rel=1e-6)
    assert int(task.size(batch)) == 22
    assert int(task.size(twice)) == 44


def test_perplexity_is_of_the_mean_over_all_tokens_however_they_are_batched(task, model):
    batches = [some_batch(4), some_batch(1, padded=5), some_batch(3, padded=13), some_batch(2, padded=12)]
    by_hand = [loss_by_hand(model, batch) for batch in batches]
    total, count = (sum(values) for values in zip(*by_hand, strict=True))
    assert count == 24 + 1 + 5
    with torch.no_grad():
        tallies = task.evaluate(model, batches)
    scores = task.finish({name: float(tally.total) / float(tally.count) for name, tally in tallies.items()})
    assert scores["loss"] == pytest.approx(total / count, rel=1e-5)
    assert scores["perplexity"] == pytest.approx(math.exp(total / count), rel=1e-5)
    assert scores["bits"] == pytest.approx(total / count / math.log(2), rel=1e-5)
    means = [part / size for part, size in by_hand if size]
    assert abs(sum(means) / len(means) - total / count) > 0.01  # the mean of means is something else


@pytest.mark.parametrize(("name", "value"), [("SCORED_TOKENS", 7), ("SCORED_LOGITS", 100)])
def test_scoring_a_few_rows_at_a_time_changes_nothing(task, model, monkeypatch, name, value):
    batch, rows = some_batch(9, padded=3), []
    model.register_forward_pre_hook(lambda module, inputs: rows.append(len(inputs[0])))
    with torch.no_grad():
        whole = task.score(model, batch)["loss"]
        assert rows == [9]
        monkeypatch.setattr(language_modeling, name, value)
        parts = task.score(model, batch)["loss"]
    assert rows == [9] + [1] * 9
    assert float(parts.total) == pytest.approx(float(whole.total), rel=1e-6)
    assert int(parts.count) == int(whole.count) == 51


def test_an_empty_share_of_a_batch_scores_nothing(task, model):
    tally = task.score(model, some_batch(0))["loss"]
    assert float(tally.total) == int(tally.count) == 0


def test_the_baseline_is_counted_pairs(story):
    dataset = datasets.make(Choice.of({"name": "text", "path": str(story), "context": 24}), None, 0)
    dataset.prepare()
    task = tasks.make(Choice.of({"name": "language-modeling"}), None, dataset.facts)
    cut, kinds = int(len(LINES) * 0.9), len(set(LINES))
    train, valid = LINES[:cut], LINES[cut:]
    pairs, firsts = Counter(pairwise(train)), Counter(train[:-1])
    nats = [-math.log((pairs[pair] + 1) / (firsts[pair[0]] + kinds)) for pair in pairwise(valid)]
    assert task.baseline(dataset, "valid")["loss (bigrams)"] == pytest.approx(sum(nats) / len(nats), rel=1e-9)


# ---------------------------------------------------------------------------------- through the one loop


def test_a_run_learns_and_its_scores_are_those_of_its_model(run, story):
    assert run.scores["loss"] < 0.5
    bundle, task = open_bundle(run)
    dataset = datasets.make(Choice.of({"name": "text", "path": str(story), "context": 24}), None, 0)
    dataset.prepare()
    found = [loss_by_hand(bundle.model, batch) for batch in in_order(dataset.split("valid"), 3)]
    total, count = (sum(values) for values in zip(*found, strict=True))
    assert count == len(LINES) - int(len(LINES) * 0.9) - 1
    assert run.scores["loss"] == pytest.approx(total / count, rel=1e-5)
    assert run.scores["perplexity"] == pytest.approx(math.exp(total / count), rel=1e-5)
    assert run.evaluate()["loss"] == pytest.approx(run.scores["loss"], rel=1e-6)
    assert task.counts == "tokens"
    assert run.result["tokens_per_second"] > 0


def test_a_killed_run_goes_on_to_the_same_bytes(story, tmp_path):
    assert_resume_is_exact(recipe_for(story, steps=12, evaluate_every=4, batch_size=70), tmp_path, kill_at=6)


def test_more_micro_batches_give_the_same_update(story, tmp_path):
    models = []
    for count in (1, 4):
        recipe = recipe_for(story, steps=3, accumulate=count) | {"optimizer": {"name": "sgd", "lr": 0.5}}
        models.append(sd.train(recipe, run=tmp_path / str(count), model={"dropout": 0.0}).model().state_dict())
    for name, value in models[0].items():
        assert (value - models[1][name]).abs().max() < 1e-6, name


# ------------------------------------------------------------------------------------------------ predict


def test_the_answer_is_streamed_and_repeats_with_its_seed(run):
    pieces: list[str] = []
    (answer,) = run.predict("the cat", max_tokens=40, temperature=0.7, top_k=5, seed=3, stream=pieces.append)
    assert len(pieces) == 40
    assert answer.text == "the cat" + "".join(pieces)
    assert answer.values["continuation"] == "".join(pieces)
    assert answer.values["top_k"] == 5
    (again,) = run.predict("the cat", max_tokens=40, temperature=0.7, top_k=5, seed=3)
    assert again == answer


def test_it_continues_what_it_learned_and_stops_where_told(run):
    (answer,) = run.predict("the cat", temperature=0, max_tokens=60, stop=" the")
    assert answer.text == "the cat sat on"
    assert answer.values["stop"] == [" the"]


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        ("", {}, r"^The prompt is empty\. Give the beginning of a text to continue\."),
        ("the cat " * 4, {}, r"^The prompt has 32 tokens, but the model sees 24 at once\. Shorten it\."),
        ("the čat", {}, r"^the prompt: line 1, character 5: 'č' .* Write 'c' instead\?"),
    ],
)
def test_prompts_that_cannot_be_continued_are_refused(run, prompt, options, message):
    with pytest.raises(DataError, match=message):
        run.predict(prompt, **options)


def test_wrong_options_are_refused(run):
    with pytest.raises(ConfigError, match=r"Did you mean 'temperature'\?"):
        run.predict("the", temprature=1.0)
    with pytest.raises(ConfigError, match=r"predict\.temperature: should be 0\.0 or more"):
        run.predict("the", temperature=-1.0)


@pytest.mark.parametrize("kind", ["bytes", "bpe"])
def test_other_tokenizers_go_through_the_same_loop(story, tmp_path, kind):
    run = sd.train(recipe_for(story, steps=2), run=tmp_path / "run", **{"data.tokenizer": kind})
    (answer,) = run.predict("the 고양이", max_tokens=5)
    assert answer.text.startswith("the 고양이")
