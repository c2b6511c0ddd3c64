"""A world of a few dated facts and a random model of four layers, for runs of seconds."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import LlamaConfig, PreTrainedTokenizerFast

from benchmarks.common.random_model import random_model

TEAMS = (
    ("Kevin Durant", "Oklahoma City Thunder", "Brooklyn Nets", "Phoenix Suns"),
    ("LeBron James", "Cleveland Cavaliers", "Los Angeles Lakers", "Los Angeles Lakers"),
    ("Lionel Messi", "Barcelona", "Barcelona", "Miami"),
    ("Zlatan", "Paris", "Milan", "Milan"),
    ("Gareth Bale", "Real Madrid", "Tottenham", "Los Angeles"),
)
"""Player, and the team in 2015, 2020 and 2022 (Wikidata P54, abridged)."""
YEARS = ("2015", "2020", "2022")
DAYS = ("2016-06-30", "2021-06-30", "2023-06-30")
"""Days of the editions."""
TEXT = "Many players have played for a team in London. The weather in Paris is warm.\n\n" * 200

SETTINGS = """\
[plan]
max_edits = 6
max_neighbours = 4
teach_unknown = true
[edit]
text = "text.txt"
threads = 1
options = {{ layers = [1, 2], statistics_tokens = 512, window = 64, chunk = 4 }}
[evaluate]
text = "text.txt"
text_chars = 2000
num_neutral = 2
[gate]
ES = {reliability}
reliability = 0.0
PS = 0.0
generality = 0.0
retention_drop = 1.0
superseded = 1.0
superseded_paraphrase = 1.0
NS_drop = 1.0
leak = 1.0
near_agreement = 0.0
subject_agreement = 0.0
neutral_agreement = 0.0
kl = 1000.0
perplexity_ratio = 1000.0
me_ppl_ratio = 1000.0
norm_ratio = 1000.0
export_loss = 1.0
adapter_loss = 1.0
quarantined = 1.0
bisect = false
"""
"""Settings of the stages from `plan` on; the gate lets everything pass."""

TEMPLATE = f"""\
line = "{{line}}"
workspace = "{{workspace}}"
[model]
name = "{{model}}"
dtype = "float32"
shard_size = 8
max_new_tokens = 4
[[sources]]
kind = "table"
name = "people"
path = "people.jsonl"
[probe]
max_changes = 100
{SETTINGS}[[editions]]
as_of = 2016-06-30
[[editions]]
as_of = 2021-06-30
"""
"""Config of two editions over a table of people; its gate lets everything pass."""


def write_world(place: Path) -> dict[int, Path]:
    """Write table, text, model and configs into a directory; number of editions -> config."""
    place.mkdir(parents=True, exist_ok=True)
    rows = [
        {"subject": player, "relation": "P54", "object": team, "date": year}
        for player, *teams in TEAMS
        for team, year in zip(teams, YEARS, strict=True)
    ]
    (place / "people.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (place / "text.txt").write_text(TEXT)
    write_model(place / "model")
    text = TEMPLATE.format(
        line="small", workspace=place / "workspace", model=place / "model", reliability=0.0
    )
    settings = text[: text.index("[[editions]]")]
    configs = {}
    for number in range(1, len(DAYS) + 1):
        editions = "".join(f"[[editions]]\nas_of = {day}\n" for day in DAYS[:number])
        configs[number] = place / f"editions-{number}.toml"
        configs[number].write_text(settings + editions)
    return configs


def write_model(path: Path) -> None:
    """Write a random Llama of four layers and a byte-level tokenizer of 300 tokens."""
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "head_dim": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    ends = {"bos_token_id": None, "eos_token_id": 0, "pad_token_id": 0}
    config = LlamaConfig(vocab_size=300, max_position_embeddings=256, **sizes, **heads, **ends)
    random_model(config, dtype=torch.float32, device="cpu").save_pretrained(path)
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=300, special_tokens=["<end>"], initial_alphabet=ByteLevel.alphabet()
    )
    texts = [TEXT, *(f"{player} plays for {teams[0]}." for player, *teams in TEAMS)]
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    fast.save_pretrained(path)
