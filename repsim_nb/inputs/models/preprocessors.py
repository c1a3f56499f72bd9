"""Find how a model of transformers prepares its inputs: the sizes of its pictures, its tokenizer."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repsim_nb.support.errors import warn_user

from .libraries import first_line
from .preparing import Pictures, covers


def read_json(origin: str | None, name: str) -> Any:
    """Read a JSON file of a folder (or of a name on the hub), {} if it has no such file."""
    find = importlib.import_module("transformers.utils").cached_file
    path = (
        find(origin, name, _raise_exceptions_for_missing_entries=False, _raise_exceptions_for_connection_errors=False)
        if origin
        else None
    )
    return {} if path is None else json.loads(Path(path).read_text())


def read_first_json(origin: str | None, names: tuple[str, ...]) -> dict[str, Any]:
    """Read the first of these files that a folder (or a name on the hub) has, {} if it has none."""
    content: dict[str, Any] = next(filter(None, (read_json(origin, name) for name in names)), {})
    return content.get("image_processor", content)


def make_pictures(config: Any, settings: Mapping[str, Any]) -> Pictures:
    """Create Pictures with the settings of a preprocessor.

    Without settings, values are from -1 to 1 and the size is the one of the configuration (None: pictures keep theirs).
    """
    size, first = _sizes(settings, getattr(config, "image_size", None))
    plain = not settings.get("do_normalize", True)
    mean, std = (
        (0.0,) if plain else settings.get("image_mean") or (0.5,),
        (1.0,) if plain else settings.get("image_std") or (0.5,),
    )
    # numbers of Pillow; 1 is Lanczos, which torch lacks
    mode = "bicubic" if settings.get("resample") in (1, 3) else "bilinear"
    return Pictures(size, tuple(mean), tuple(std), getattr(config, "num_channels", 3), mode, first)


def _sizes(settings: Mapping[str, Any], own: Any) -> tuple[tuple[int, int] | None, int | tuple[int, int] | None]:
    """Return the size of the crop and the size before it: the shorter side, or (height, width) to stretch to."""
    edge = settings["size"].get("shortest_edge") if isinstance(settings.get("size"), Mapping) else None
    whole = _pair(settings.get("size")) or _pair(own)
    if settings.get("do_center_crop"):
        size = _pair(settings.get("crop_size")) or whole
        # a number next to a crop is the shorter side
        legacy = settings.get("size") if isinstance(settings.get("size"), int) else None
        first = edge or legacy or (whole if "size" in settings else None)
        return size, first if first and size and covers(first, size) else None
    if edge and ("crop_pct" in settings or "ConvNext" in settings.get("image_processor_type", "")) and edge < 384:
        return (edge, edge), int(edge / (settings.get("crop_pct") or 224 / 256))
    if edge:  # ConvNeXt stretches from 384 on; pictures of others would differ in size, so their centre is cropped
        return (edge, edge), (edge, edge) if "crop_pct" in settings else None
    return whole, whole if _pair(settings.get("size")) else None


def _pair(size: Any) -> tuple[int, int] | None:
    """Return (height, width) of a size in the form of a configuration."""
    if isinstance(size, Mapping):
        size = [size["height"], size["width"]] if "height" in size else size.get("shortest_edge")
    return tuple(size) if isinstance(size, (list, tuple)) else (size, size) if size else None


def find_most_tokens(config: Any) -> int | None:
    """Return the largest number of tokens that a model takes, None if its configuration does not contain it."""
    most = [getattr(config, key, None) for key in ("max_position_embeddings", "n_positions")]
    padding = 2 * (config.model_type in ("roberta", "xlm-roberta", "camembert"))  # two positions are padding
    return min((m - padding for m in most if isinstance(m, int) and m > 2), default=None)


def has_tokenizer(folder: Path) -> bool:
    """Return whether a folder contains a tokenizer."""
    return any((folder / file).is_file() for file in ("tokenizer.json", "tokenizer_config.json", "vocab.txt"))


def find_tokenizer(config: Any, origin: str | None, length: int | None) -> tuple[Any, int | None]:
    """Return the tokenizer of a folder, None if it has none, and the largest number of tokens."""
    most = find_most_tokens(config)
    if origin is None or (Path(origin).is_dir() and not has_tokenizer(Path(origin))):
        return None, most
    try:
        tokenizer = importlib.import_module("transformers").AutoTokenizer.from_pretrained(
            origin, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        warn_user(f"the tokenizer of '{origin}' could not be read ({first_line(error)}), so the model takes ids only.")
        return None, most
    return tokenizer, min(some for some in (most, tokenizer.model_max_length, length) if some)


def find_padding(tokenizer: Any) -> int | None:
    """Return the id that fills short rows: the tokenizer's, or else its end of a text, which is the usual choice.

    None without a tokenizer: any id may be a token.
    """
    if tokenizer is None:
        return None
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
