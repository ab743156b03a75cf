"""The prompt format of Stanford Alpaca, which the seed document trains with."""

_ALPACA_TASK = "Below is an instruction that describes a task"
_ALPACA_PAIRED = ", paired with an input that provides further context"
_ALPACA_REQUEST = ". Write a response that appropriately completes the request."


def write_alpaca(instruction: str, context: str) -> str:
    """A prompt up to where the answer begins; `context` is a task's input, empty where it has none."""
    if not context:
        return f"{_ALPACA_TASK}{_ALPACA_REQUEST}\n\n### Instruction:\n{instruction}\n\n### Response:\n"
    return (
        f"{_ALPACA_TASK}{_ALPACA_PAIRED}{_ALPACA_REQUEST}\n\n"
        f"### Instruction:\n{instruction}\n\n### Input:\n{context}\n\n### Response:\n"
    )
