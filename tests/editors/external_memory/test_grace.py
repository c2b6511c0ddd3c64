"""GRACE on tiny models: edits take, other prompts keep every bit, what is taken back is gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import editors_helpers
import pytest
import torch
from editors_helpers import small_config, some_requests
from grace_helpers import (
    CONFIG,
    OTHERS,
    WORDS,
    ids_of,
    last_logits,
    make_steerable,
    one_token_requests,
    propose,
)
from tiny_models import KINDS, TEXTS, make_tokenizer

from editors.base import Base
from editors.deltas.codebook import Codebook
from editors.deltas.delta import Delta
from editors.deltas.serve import load_edited
from editors.deltas.weights import WeightPart
from editors.editor import Corpus, EditorCall
from editors.external_memory.extension_based.grace import Grace, GraceConfig
from editors.internals.contexts import contexts
from editors.local_modification.gradient_based.memit import Memit
from editors.statistics.key_samples import KeySample
from infra.errors import ConfigError, EditError
from infra.lm.language_model import LanguageModel
from infra.lm.question import Question
from infra.models.checkpoint import Checkpoint
from infra.models.loading import load
from pipeline.edit.attach import AttachDelta
from pipeline.edit.config import TEXT, EditConfig, make_editor


@pytest.mark.parametrize("kind", KINDS)
def test_edits_take_and_other_prompts_keep_every_bit(kind: str, tokenizer: Any) -> None:
    """On every architecture: asked or generating, the target comes; left padding = right padding =
    one at a time; prompts outside all radii have the same bits; restored, so has everything."""
    model = make_steerable(kind, torch.float32)  # Gemma 2's padding is NaN in float64
    base = Base(model, tokenizer, "base")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    requests = one_token_requests()
    prompts = [item.prompt for item in requests]
    plain = last_logits(base, [*prompts, *OTHERS], left=True)
    alone = torch.cat([last_logits(base, [prompt], left=True) for prompt in OTHERS])
    proposal = propose(base, requests)
    assert [report.status for report in proposal.reports] == ["edited"] * len(requests)
    questions = [Question(id=p, prompt=p, greedy=True) for p in prompts]
    undo = proposal.delta.apply_(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    answers = LanguageModel(model, tokenizer).ask(questions, max_new_tokens=1)
    assert [answer.greedy for answer in answers] == list(WORDS)
    tokens = last_logits(base, prompts, left=False).argmax(1).tolist()
    assert [tokenizer.decode([token]).strip() for token in tokens] == list(WORDS)
    left = last_logits(base, [*prompts, *OTHERS], left=True)
    right = last_logits(base, [*prompts, *OTHERS], left=False)
    single = torch.cat([last_logits(base, [p], left=True) for p in [*prompts, *OTHERS]])
    torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(left, single, rtol=1e-3, atol=1e-3)
    assert torch.equal(left[len(prompts) :], plain[len(prompts) :])
    assert torch.equal(single[len(prompts) :], alone)
    undo.close()
    assert torch.equal(last_logits(base, [*prompts, *OTHERS], left=True), plain)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_every_key_of_a_fact_answers(llama: Any, tokenizer: Any) -> None:
    """Behind each context the target comes as after the bare prompt; each has an entry."""
    base = Base(llama, tokenizer, "base")
    config = replace(CONFIG, num_keys=3, context_tokens=3)
    requests = one_token_requests()[:2]
    proposal = propose(base, requests, config)
    [book] = proposal.delta.of(Codebook).values()
    assert len(book.log) == len(book.alive) == 6
    texts = contexts(llama, tokenizer, num_prefixed=2, num_tokens=3)
    prompts = [text + item.prompt for item in requests for text in texts]
    questions = [Question(id=p, prompt=p, greedy=True) for p in prompts]
    with proposal.delta.applied(llama):
        answers = LanguageModel(llama, tokenizer).ask(questions, max_new_tokens=1)
    assert [answer.greedy for answer in answers] == ["Paris"] * 3 + ["the"] * 3


def test_taking_one_fix_back_is_exact(llama: Any, tokenizer: Any) -> None:
    """Without an id: bit for bit the codebook and the answers of the others alone."""
    base = Base(llama, tokenizer, "base")
    requests = one_token_requests()
    fitted = Grace(CONFIG).fit(EditorCall(base), Corpus(TEXTS))
    [whole] = propose(base, requests, fitted=fitted).delta.of(Codebook).values()
    gone = whole.without({requests[1].id})
    assert [q.id for q in gone.requests] == [q.id for q in (requests[0], *requests[2:])]
    records = [r for r in whole.log if r.request.id != requests[1].id]
    assert gone.digest == Codebook(whole.target).extended(records).digest
    prompts = [requests[1].prompt]
    plain = last_logits(base, prompts, left=True)
    with Delta((gone,)).applied(llama):
        assert torch.equal(last_logits(base, prompts, left=True), plain)


def test_prompts_that_share_a_place_are_told(llama: Any, tokenizer: Any) -> None:
    """With a radius so wide that all prompts are one place the first target is kept, the others are
    quarantined, those with the same target share its entry."""
    base = Base(llama, tokenizer, "base")
    proposal = propose(base, one_token_requests(), replace(CONFIG, radius=1e6))
    assert [r.status for r in proposal.reports] == ["edited", *["quarantined"] * 3, "edited"]
    assert "cannot be told" in proposal.reports[1].reason
    [book] = proposal.delta.of(Codebook).values()
    assert len(book.alive) == 1 and len(book.requests) == 2


def test_a_prompt_with_other_tokens_before_its_target_is_refused(
    llama: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its key would be that of tokens which never come; the same prompt twice is one entry."""
    from editors.external_memory.extension_based import prompt_columns
    from editors.internals.tokens import encode

    def merged(tokenizer: Any, prompt: str, span: Any, target: str = "") -> Any:
        row = encode(tokenizer, prompt, span, target)
        return row if target or "Neymar" not in prompt else replace(row, ids=row.ids[1:])

    monkeypatch.setattr(prompt_columns, "encode", merged)
    requests = [*one_token_requests()[1:3], replace(one_token_requests()[1], id="again")]
    proposal = propose(Base(llama, tokenizer, "base"), requests)
    assert [r.status for r in proposal.reports] == ["edited", "quarantined", "edited"]
    assert "other tokens" in proposal.reports[1].reason
    [book] = proposal.delta.of(Codebook).values()
    assert len(book.alive) == 1 and len(book.requests) == 2


def test_the_next_release_writes_what_the_codebook_held(llama: Any, tokenizer: Any) -> None:
    """The requests behind it, through a file, are MEMIT's to write from the base."""
    base = Base(llama, tokenizer, "base")
    requests = one_token_requests()
    [book] = propose(base, requests).delta.of(Codebook).values()
    assert book.requests == tuple(requests)
    memit = Memit(small_config())
    call = EditorCall(base, memit.fit(EditorCall(base), Corpus(TEXTS)))
    proposal = editors_helpers.propose(memit, call, book.requests)
    assert {report.status for report in proposal.reports} == {"edited"}
    assert proposal.delta.of(WeightPart) and not proposal.delta.of(Codebook)


def test_the_radius_is_a_low_quantile(llama: Any, tokenizer: Any) -> None:
    """Of all pairs by count, of blended ones by weight; one prompt is no scale; a given radius
    needs none."""
    torch.manual_seed(0)
    keys = torch.randn(30, 8, dtype=torch.float64)
    sample = KeySample(keys, torch.ones(30, dtype=torch.float64))
    pairs = sorted(float((keys[i] - keys[j]).norm()) for i in range(30) for j in range(i))
    assert sample.distance(0.02) == pytest.approx(pairs[8])
    near = KeySample(keys[:2] / 1e3, torch.ones(2, dtype=torch.float64))
    assert sample.blend(near, 0.5).distance(0.05) < pairs[0] < sample.blend(near, 0.0).distance(0.1)
    base = Base(llama, tokenizer, "base")
    with pytest.raises(EditError, match="no scale"):
        propose(base, [], fitted=Grace(CONFIG).fit(EditorCall(base), Corpus(TEXTS[:1])))
    assert Grace(replace(CONFIG, radius=3.0)).radius(None) == 3.0


def test_a_base_and_a_codebook_are_served(
    checkpoint: Callable[[str], Path], tmp_path: Path, tokenizer: Any
) -> None:
    """From files, as a codebook or a whole delta: `generate` gives the targets."""
    path = checkpoint("llama")
    base = Base(make_steerable("llama", torch.float32), make_tokenizer(), "base")
    delta = propose(base, one_token_requests()).delta
    [book] = delta.of(Codebook).values()
    book.save(tmp_path / "book")
    delta.save(tmp_path / "delta")
    for file in ("book", "delta"):
        model, words = load_edited(path, tmp_path / file)
        ids, mask = ids_of(words, [item.prompt for item in one_token_requests()], left=True)
        out = model.generate(ids, attention_mask=mask, max_new_tokens=1, do_sample=False)
        assert [words.decode(row[-1:]).strip() for row in out] == list(WORDS)
    with pytest.raises(EditError, match="cannot be read"):
        load_edited(path, tmp_path / "absent")
    assert not delta.weights(Checkpoint(path))  # no weight changes: a release attaches the book
    whole, words = load(path, dtype=torch.float32)
    AttachDelta(tmp_path / "delta", beside_weights=True)(whole, tokenizer)
    ids, mask = ids_of(words, [item.prompt for item in one_token_requests()], left=True)
    out = whole.generate(ids, attention_mask=mask, max_new_tokens=1, do_sample=False)
    assert [words.decode(row[-1:]).strip() for row in out] == list(WORDS)


@pytest.mark.parametrize(
    "wrong",
    [{"layer": -1}, {"radius": 0.0}, {"quantile": 2.0}, {"num_keys": 0}, {"end": "never"}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    """The message names the setting."""
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))}="):
        GraceConfig(**wrong)


def test_settings_come_from_a_config_file() -> None:
    """One setting of the search leaves GRACE's own defaults for the others."""
    options = {"end": "line", "values": {"steps": 7}}
    config = make_editor(EditConfig(editor="grace", options=options)).config
    assert config == GraceConfig(end="line", values=replace(GraceConfig().values, steps=7))
    assert config.values.kl_weight == 0
    with pytest.raises(ConfigError, match="kl_weight"):
        make_editor(EditConfig(editor="grace", options={"values": {"kl_weight": 1.0}}))


def test_value_keys_follow_the_content(llama: Any, tokenizer: Any) -> None:
    """Everything that shapes a value is in its key, ids and radii are not; layers are checked."""
    item = some_requests()[0]
    key = Grace(CONFIG).value_key(item, "base")
    same = replace(CONFIG, radius=1.0, chunk=1)
    assert key == Grace(same).value_key(replace(item, id="x"), "base")
    others = {
        Grace(CONFIG).value_key(item, "other"),
        Grace(CONFIG).value_key(replace(item, target="Rome"), "base"),
        *(
            Grace(replace(CONFIG, **change)).value_key(item, "base")
            for change in ({"layer": 2}, {"num_keys": 2}, {"end": "line"})
        ),
    }
    assert len(others | {key}) == 6
    with pytest.raises(ConfigError, match=r"has 4 \(0-3\)"):
        propose(Base(llama, tokenizer, "base"), [item], replace(CONFIG, layer=4))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_real_model(dtype: torch.dtype) -> None:
    """Five counterfacts said in full and ended, all neighbours and paraphrases bitwise unchanged:
    nothing generalises."""
    from benchmarks.common.counterfact import load_facts
    from infra.models.embedded import EMBEDDED
    from infra.models.loading import load, locate

    model, tokenizer = load(locate(EMBEDDED).path, dtype=dtype)
    base = Base(model, tokenizer, "base")
    cases = load_facts(5).cases
    others = [p for c in cases for p in (*(q.prompt for q in c.near), *c.paraphrases)]
    questions = [Question(id=p, prompt=p, candidates=("Paris",)) for p in others]
    lm = LanguageModel(model, tokenizer)
    before = lm.ask(questions)
    fitted = Grace().fit(EditorCall(base), Corpus(TEXT.read_text(encoding="utf-8").split("\n\n")))
    delta = propose(base, [case.request() for case in cases], GraceConfig(), fitted=fitted).delta
    asked = [Question(id=c.id, prompt=c.prompt, greedy=True) for c in cases]
    with delta.applied(model):
        answers = [answer.greedy for answer in lm.ask(asked)]
        assert lm.ask(questions) == before
        ids, mask = ids_of(tokenizer, [c.prompt for c in cases], left=True)
        out = model.generate(ids, attention_mask=mask, max_new_tokens=8, do_sample=False)
    assert answers == [case.target for case in cases]
    said = tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
    assert [text.strip() for text in said] == answers
