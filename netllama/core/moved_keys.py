"""Keys of earlier params files: where each one stands now, or why it is gone."""

from collections.abc import Mapping

MOVED = {
    **{f"model.{key}": f"loading.{key}" for key in ("precision", "quantization", "double_quantization")},
    "model.quantized_weights": "loading.quantized_weights",
    "tokenize.template": "prompt.template",
    "tokenize.system_prompt": "prompt.system_prompt",
    "generate.families": "families",
    **{
        f"generate.{key}": f"teacher.{key}"
        for key in (
            "base_url",
            "model_name",
            "api",
            "mode",
            "temperature",
            "top_p",
            "frequency_penalty",
            "presence_penalty",
            "stop",
            "max_tokens",
            "max_concurrency",
            "requests_per_minute",
            "tokens_per_minute",
            "max_retries",
            "request_timeout",
            "usd_per_million_prompt_tokens",
            "usd_per_million_completion_tokens",
            "max_usd",
        )
    },
    "generate.filters": "filters.enabled",
    **{
        f"generate.{key}": f"filters.{key}"
        for key in ("min_words", "max_words", "blacklist", "required_imports", "rouge_threshold")
    },
    "generate.question_threshold": "contamination.similarity_threshold",
    "split.leakage_ngram": "contamination.ngram",
}
"""Old key to new key; the value stays."""

REMOVED = {
    "lora.bias": "always none",
    "lora.task_type": "always CAUSAL_LM",
    "split.group_by_lineage": "no longer supported",
    "train.max_tokens_per_batch": "no longer supported; use per_device_train_batch_size",
}
"""Keys that are gone, and what holds instead."""


def find_moved_keys(raw: Mapping[str, object]) -> dict[str, str]:
    """By old key that the file still has: the line that says where it went."""
    found = {}
    for section, keys in raw.items():
        for key in keys if isinstance(keys, dict) else ():
            name = f"{section}.{key}"
            if name in MOVED:
                found[name] = f"{name}: moved to {MOVED[name]}"
            elif name in REMOVED:
                found[name] = f"{name}: delete this key ({REMOVED[name]})"
    return found
