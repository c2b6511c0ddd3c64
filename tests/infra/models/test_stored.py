"""What a config says of its model's size: every architecture that transformers knows passes."""

from __future__ import annotations

import json

import pytest

from infra.models.stored import MAX_MODULES, _counts


def test_the_settings_of_every_known_architecture_pass() -> None:
    """No default config has a number of modules out of bounds, and nearly all have one."""
    from transformers import CONFIG_MAPPING

    num_counted = 0
    for kind in CONFIG_MAPPING:
        try:
            config = CONFIG_MAPPING[kind]()
        except Exception:  # some cannot be made without settings
            continue
        counts = dict(_counts(json.loads(config.to_json_string(use_diff=False))))
        assert all(0 <= value <= MAX_MODULES for value in counts.values()), (kind, counts)
        num_counted += bool(counts)
    assert num_counted > 600


@pytest.mark.parametrize("key", ["num_hidden_layers", "n_layer", "depth", "num_experts"])
def test_numbers_of_modules_are_counted(key: str) -> None:
    """At any depth of the config."""
    assert list(_counts({"text_config": [{key: 7}]})) == [(key, 7)]


@pytest.mark.parametrize("key", ["vision_feature_layer", "num_experts_per_tok", "block_size"])
def test_numbers_of_one_module_are_not(key: str) -> None:
    """LLaVA's -2 is the second layer from the end."""
    assert list(_counts({key: -2})) == []
