"""MEMIT end to end on tiny models: edits take, the base stays, bad requests are set aside."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import editors_helpers
import pytest
import torch
from editors_helpers import changes, request, small_config, some_requests
from tiny_models import TEXTS, make_model
from torch import Tensor

from editors import EDITORS
from editors.base import Base
from editors.editor import Corpus, EditorCall, Proposal
from editors.internals.carry import Carry
from editors.internals.contexts import contexts
from editors.internals.discover import discover
from editors.internals.forward import frozen
from editors.internals.tokens import encode, in_context
from editors.local_modification.gradient_based import memit
from editors.local_modification.gradient_based.memit import Memit, MemitConfig
from editors.request import EditRequest, Wording
from editors.statistics.key_moments import Statistics
from editors.values import columns
from editors.values.config import ValueConfig
from infra.errors import ConfigError, EditError, ModelError


def propose(
    model: Any,
    tokenizer: Any,
    requests: list[EditRequest],
    *,
    config: MemitConfig | None = None,
    values: dict[str, Tensor] | None = None,
    statistics: Statistics | None = None,
) -> Proposal:
    base = Base(model, tokenizer, "base")
    editor = EDITORS["memit"](config or small_config())
    fitted = statistics or editor.fit(EditorCall(base), Corpus(TEXTS))
    call = EditorCall(base, fitted, {} if values is None else values)
    return editors_helpers.propose(editor, call, requests)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma3_text", "granite", "gpt2", "gpt_neox"])
def test_an_edited_model_has_the_values(kind: str, tokenizer: Any) -> None:
    """With next to no weight on the corpus, every row of every fact ends up at h + δ, those of
    other wordings too, and the base is bitwise as it was before and after."""
    model = make_model(kind)
    layers = (1,) if kind == "gemma3_text" else (1, 2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    config = small_config(layers=layers, cov_ratio=1e-9, ridge=1e-9, wordings=True)
    requests = some_requests()[:3]
    other = Wording("The club of Tom Brady is", (12, 21))
    requests[0] = replace(requests[0], wordings=(other,))
    values: dict[str, Tensor] = {}
    proposal = propose(model, tokenizer, requests, config=config, values=values)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert [report.status for report in proposal.reports] == ["edited"] * len(requests)
    editor = Memit(config)
    Z_ED = torch.stack([values[editor.value_key(r, "base")][:-4] for r in requests])
    texts = contexts(model, tokenizer, num_prefixed=2, num_tokens=3)
    rows = [in_context(tokenizer, r, text) for r in requests for text in texts]
    rows.insert(3, encode(tokenizer, other.text, other.subject_span))
    num_E = torch.tensor([4, 3, 3])
    architecture = discover(model)
    with torch.no_grad(), frozen(model):
        base_CD = Carry(architecture, rows, layers[-1], layers[-1]).look()[1]
        with proposal.delta.applied(model):
            edited_CD = Carry(architecture, rows, layers[-1], layers[-1]).look()[1]
            changed = [n for n, v in model.state_dict().items() if not torch.equal(before[n], v)]
    assert changed == sorted(changes(proposal.delta)) and len(changed) == len(layers)
    delta_ED = Z_ED - base_CD[num_E.cumsum(0) - num_E]
    assert float(delta_ED.norm(dim=1).min()) > 0.1
    torch.testing.assert_close(
        edited_CD, base_CD + delta_ED.repeat_interleave(num_E, dim=0), rtol=1e-3, atol=1e-4
    )


def test_tied_embeddings_stay_tied_and_untouched(llama: Any, tokenizer: Any) -> None:
    """The head is the embedding, before, with and after the edit."""
    proposal = propose(llama, tokenizer, some_requests()[:1])
    with proposal.delta.applied(llama):
        assert llama.lm_head.weight is llama.model.embed_tokens.weight
    assert not any("embed" in name or "head" in name for name in changes(proposal.delta))


def test_equals_the_plain_algorithm(llama: Any, tokenizer: Any) -> None:
    """Carried states and Woodbury equal whole passes and the dense formula, layer by layer."""
    requests = some_requests()
    config = small_config(num_prefixed=1)
    editor = Memit(config)
    values: dict[str, Tensor] = {}
    statistics = editor.fit(EditorCall(Base(llama, tokenizer, "base")), Corpus(TEXTS))
    proposal = propose(
        llama, tokenizer, requests, config=config, values=values, statistics=statistics
    )
    texts = contexts(llama, tokenizer, num_prefixed=1, num_tokens=3)
    edited = make_model("llama")

    def read(layer: int) -> tuple[Tensor, Tensor]:
        """Keys of `layer` [I, C] and hidden states after layer 2 [D, C], of every row by itself."""
        keys: list[Tensor] = []
        sites: list[Tensor] = []
        blocks = edited.model.layers
        handles = [
            blocks[layer].mlp.down_proj.register_forward_hook(lambda _m, a, _o: keys.append(a[0])),
            blocks[2].register_forward_hook(lambda _m, _a, output: sites.append(output)),
        ]
        rows = [in_context(tokenizer, item, text) for item in requests for text in texts]
        with torch.no_grad():
            for row in rows:
                edited(input_ids=torch.tensor([row.ids]))
        for handle in handles:
            handle.remove()
        found = [
            torch.stack([x[0, row.lookup] for x, row in zip(part, rows, strict=True)], 1)
            for part in (keys, sites)
        ]
        return found[0], found[1]

    _, start_DC = read(2)
    Z_DE = torch.stack([values[editor.value_key(r, "base")][:-4] for r in requests], 1)
    Z_DC = start_DC + (Z_DE - start_DC[:, ::2]).repeat_interleave(2, dim=1)
    for left, layer in ((2, 1), (1, 2)):
        K_IC, site_DC = read(layer)
        R_DC = (Z_DC - site_DC) / left
        C_II = statistics.moment(layer)
        C_II = C_II + config.ridge * C_II.diagonal().median() * torch.eye(len(C_II))
        s_C = (K_IC * torch.linalg.solve(C_II, K_IC)).sum(0)
        system_II = config.cov_ratio * s_C.median() * C_II + K_IC @ K_IC.T
        dense = torch.linalg.solve(system_II, K_IC @ R_DC.T).T
        name = f"model.layers.{layer}.mlp.down_proj.weight"
        scale = float(dense.abs().max())
        torch.testing.assert_close(
            changes(proposal.delta)[name].dense().double(), dense, rtol=1e-4, atol=1e-5 * scale
        )
        with torch.no_grad():
            edited.get_parameter(name).add_(changes(proposal.delta)[name].dense())


def test_known_values_are_not_sought_again(
    llama: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed run keeps whole chunks; a second run seeks the rest only and proposes the same
    bits."""
    requests = some_requests()
    config = small_config(chunk=2)
    full: dict[str, Tensor] = {}
    first = propose(llama, tokenizer, requests, config=config, values=full)
    sought: list[int] = []
    whole = memit.optimise

    def counting(architecture: Any, facts: Any, *rest: Any, **more: Any) -> Any:
        sought.append(len(facts))
        if len(sought) == 2:
            raise KeyboardInterrupt
        return whole(architecture, facts, *rest, **more)

    monkeypatch.setattr(memit, "optimise", counting)
    partly: dict[str, Tensor] = {}
    with pytest.raises(KeyboardInterrupt):
        propose(llama, tokenizer, requests, config=config, values=partly)
    assert len(partly) == 2 and partly.keys() < full.keys()
    sought[:] = [0, 0]
    second = propose(llama, tokenizer, requests, config=config, values=partly)
    assert sought == [0, 0, 2, 1]
    assert second.delta.digest == first.delta.digest and second.reports == first.reports
    third = propose(llama, tokenizer, requests, config=config, values=full)
    assert len(sought) == 4 and third.delta.digest == first.delta.digest


def test_order_and_chunks_do_not_matter(llama: Any, tokenizer: Any) -> None:
    """Reversed, or one fact at a time: the same change to rounding."""
    one = propose(llama, tokenizer, some_requests())
    other = propose(llama, tokenizer, some_requests()[::-1], config=small_config(chunk=1))
    for name in changes(one.delta):
        torch.testing.assert_close(
            changes(one.delta)[name].dense(),
            changes(other.delta)[name].dense(),
            rtol=1e-3,
            atol=1e-5,
        )
    assert [r.id for r in one.reports] == [r.id for r in other.reports][::-1]


def test_one_subject_with_two_facts_shares_a_value(llama: Any, tokenizer: Any) -> None:
    """Rows that agree up to the subject's last token get one value, found for both facts."""
    requests = [
        request("Tom Brady plays for", "Tom Brady", "Paris", name="club"),
        request("Tom Brady is employed by", "Tom Brady", "the Navy", name="employer"),
    ]
    values: dict[str, Tensor] = {}
    proposal = propose(llama, tokenizer, requests, values=values)
    assert list(values) == [Memit(small_config()).value_key(requests[0], "base", requests[1:])]
    assert proposal.reports[0].p_target == proposal.reports[1].p_target
    alone = propose(llama, tokenizer, requests[:1])
    for name, change in changes(proposal.delta).items():
        assert change.rank == changes(alone.delta)[name].rank == 3
        assert not torch.allclose(
            changes(proposal.delta)[name].dense(), changes(alone.delta)[name].dense()
        )


def test_contradictions_are_quarantined_and_duplicates_merged(llama: Any, tokenizer: Any) -> None:
    """The rest of the batch goes on and gives the same change as alone."""
    good = some_requests()[0]
    requests = [
        good,
        replace(good, id="again"),
        request("Neymar plays for", "Neymar", "Paris", name="one"),
        request("Neymar plays for", "Neymar", "London", name="two"),
    ]
    proposal = propose(llama, tokenizer, requests)
    assert [r.status for r in proposal.reports] == ["edited"] * 2 + ["quarantined"] * 2
    assert all("contradiction" in r.reason for r in proposal.reports[2:])
    alone = propose(llama, tokenizer, [good])
    for name, change in changes(proposal.delta).items():
        assert change.rank == 3
        torch.testing.assert_close(
            changes(proposal.delta)[name].dense(), changes(alone.delta)[name].dense()
        )


def test_rows_that_cannot_be_made_are_quarantined(
    llama: Any, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that cannot be tokenised, and one whose value was lost, do not stop the others."""
    requests = some_requests()[:3]
    whole = columns.in_context

    def failing(tokenizer: Any, item: EditRequest, text: str) -> Any:
        if item is requests[1]:
            raise EditError("no token covers the subject")
        return whole(tokenizer, item, text)

    monkeypatch.setattr(columns, "in_context", failing)
    lost = Memit(small_config()).value_key(requests[2], "base")
    values = {lost: torch.full((36,), torch.nan)}
    values[lost][-4] = 1.0
    proposal = propose(llama, tokenizer, requests, values=values)
    assert [r.status for r in proposal.reports] == ["edited", "quarantined", "quarantined"]
    assert "no token covers" in proposal.reports[1].reason
    assert "not finite" in proposal.reports[2].reason
    nothing = propose(llama, tokenizer, requests[1:2])
    assert not changes(nothing.delta)


def test_a_key_like_all_text_is_quarantined(llama: Any, tokenizer: Any) -> None:
    """A key that makes up the corpus has little leverage: quarantined before a value is sought."""
    requests = some_requests()[:3]
    ids = tokenizer("Neymar")["input_ids"]
    texts = [*TEXTS[:2], *["Neymar"] * 200]
    editor = Memit(small_config(min_leverage=1.5 * len(ids) / 48))
    statistics = editor.fit(EditorCall(Base(llama, tokenizer, "base")), Corpus(texts))
    values: dict[str, Tensor] = {}
    proposal = propose(
        llama, tokenizer, requests, config=editor.config, values=values, statistics=statistics
    )
    assert [r.status for r in proposal.reports] == ["edited", "edited", "quarantined"]
    assert "min_leverage" in proposal.reports[2].reason and len(values) == 2


def test_value_keys_follow_the_content() -> None:
    """Ids and the order of joined requests are no part of a key; everything that shapes a value
    is."""
    one, two = some_requests()[:2]
    config = small_config()
    editor = Memit(config)
    key = editor.value_key(one, "base")
    assert key == editor.value_key(replace(one, id="x", old_targets=("y",)), "base")
    assert editor.value_key(one, "base", [two]) == editor.value_key(two, "base", [one])
    others = {
        editor.value_key(one, "other"),
        editor.value_key(replace(one, target="Rome"), "base"),
        editor.value_key(one, "base", [two]),
        Memit(replace(config, layers=(1,))).value_key(one, "base"),
        Memit(replace(config, wordings=True)).value_key(one, "base"),
        editor.value_key(one, "base", template="{{ messages }}"),
        Memit(replace(config, num_prefixed=1)).value_key(one, "base"),
        Memit(replace(config, values=ValueConfig(steps=3))).value_key(one, "base"),
    }
    assert len(others | {key}) == 9
    more = replace(one, wordings=(Wording("The club of Tom Brady is", (12, 21)),))
    assert editor.value_key(more, "base") == key
    assert Memit(replace(config, wordings=True)).value_key(more, "base") not in {key, *others}
    assert Memit(replace(config, cov_ratio=9.0, chunk=1)).value_key(one, "base") == key


def test_refuses_layers_and_ids(llama: Any, tokenizer: Any) -> None:
    """Layers the model lacks, layers that cannot share a residual, ids given twice."""
    item = some_requests()[0]
    with pytest.raises(ConfigError, match=r"has 4 \(0-3\)"):
        propose(llama, tokenizer, [item], config=small_config(layers=(7,)))
    with pytest.raises(ModelError, match="one layer"):
        propose(make_model("gemma2"), tokenizer, [item])
    with pytest.raises(EditError, match="unique"):
        propose(llama, tokenizer, [item, item])


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_layers_by_default(kind: str, tokenizer: Any) -> None:
    """Unset layers are chosen by depth; a model that cannot spread gets one."""
    config = small_config(layers=())
    proposal = propose(make_model(kind), tokenizer, some_requests()[:1], config=config)
    assert (len(changes(proposal.delta)) == 1) == (kind == "gemma2")


@pytest.mark.parametrize(
    "wrong",
    [{"layers": (3, 2)}, {"layers": (-1,)}, {"cov_ratio": 0.0}, {"chunk": 0}, {"num_prefixed": 99}],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    """The message names the setting."""
    with pytest.raises(ConfigError, match=f"{next(iter(wrong))}="):
        MemitConfig(**wrong)


def test_a_later_batch_leaves_live_edits_where_they_are(llama: Any, tokenizer: Any) -> None:
    """On top of an edited model, with the live edits named, their states move far less than when
    they are not; the new edits take all the same."""
    config = small_config(cov_ratio=1e-3, num_prefixed=0)
    first, later = some_requests()[:3], some_requests()[3:]
    edited = make_model("llama")
    propose(edited, tokenizer, first, config=config).delta.apply_(edited)
    base, editor = Base(edited, tokenizer, "edited"), Memit(config)
    call = EditorCall(base, editor.fit(EditorCall(base), Corpus(TEXTS)))
    work = editor.prepare(call, later)
    for group in work.groups:
        call.store.update(editor.find_values(call, group))
    rows = [in_context(tokenizer, item, "") for item in (*first, *later)]

    def states() -> Tensor:
        with torch.no_grad(), frozen(edited):
            return Carry(discover(edited), rows, 2, 2).look()[1]

    before = states()
    moved = []
    for live in ((), tuple(first)):
        proposal = editor.propose(call, replace(work, live=live))
        with proposal.delta.applied(edited):
            moved.append((states() - before).norm(dim=1))
    assert float(moved[1][:3].max()) < 0.05 * float(moved[0][:3].max())
    assert float(moved[1][3:].min()) > 0.9 * float(moved[0][3:].min())
