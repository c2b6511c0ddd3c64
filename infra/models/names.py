"""The names of a model's parameters in its files, by the mapping that transformers loads by.

Checkpoints of many architectures name their tensors otherwise than the loaded model does: Gemma 3
stores `language_model.model.layers...` and loads `model.language_model.layers...`; Qwen 3.5 stores
its text model beside a vision tower and is loaded without that; GPT-2 leaves out `transformer.`.
transformers renames tensors as it loads them, and makes some parameters of several tensors (the
experts of a mixture). Here the same functions are asked what becomes of a stored name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from infra.errors import ModelError
from infra.models.library import OWN, first_line, model_class


def skeleton(path: Path) -> Any:
    """The model of a directory on PyTorch's `meta` device: its modules, without weights.

    Raises ModelError for a config of which transformers makes no model.
    """
    from transformers import AutoConfig
    from transformers.modeling_utils import set_zero3_state

    try:
        config = AutoConfig.from_pretrained(path, **OWN)
        auto = model_class(config)
        with torch.device("meta"), set_zero3_state():  # where weights are sharded, these are not
            return auto.from_config(config, trust_remote_code=False)
    except Exception as error:  # a config's values reach any module's constructor
        raise ModelError(f"model {path} cannot be loaded: {first_line(error)}") from error


def renamed(path: Path, stored: Iterable[str]) -> dict[str, str]:
    """Parameter -> stored name, of the parameters that are a stored tensor under another name.

    stored  names of the tensors in the files of the directory `path`

    Parameters that transformers makes of several tensors, or by an operation, are left out; so are
    those that two stored names lead to.
    """
    found = [
        (loaded, name)
        for name, (loaded, is_whole) in loaded_names(skeleton(path), stored).items()
        if is_whole
    ]
    times = Counter(loaded for loaded, _ in found)
    return {loaded: name for loaded, name in found if times[loaded] == 1}


def loaded_names(model: Any, stored: Iterable[str]) -> dict[str, tuple[str, bool]]:
    """Stored name -> the entry of the model's state that it becomes, and whether as it is: alone
    and unchanged. Names that become no entry are left out.

    model   a model with or without numbers
    stored  names of tensors in the model's files
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import (
        WeightConverter,
        WeightRenaming,
        rename_source_key,
    )

    known = model.state_dict()
    mapping = get_model_conversion_mapping(model)
    renamings = [one for one in mapping if isinstance(one, WeightRenaming)]
    converters = [one for one in mapping if isinstance(one, WeightConverter)]
    found: dict[str, tuple[str, bool]] = {}
    for name in stored:
        loaded, converted_by = rename_source_key(
            name, renamings, converters, model.base_model_prefix, known
        )
        if loaded not in known and name in known:
            loaded, converted_by = rename_source_key(name, [], [], model.base_model_prefix, known)
        if loaded in known:
            found[name] = (loaded, converted_by is None)
    return found
