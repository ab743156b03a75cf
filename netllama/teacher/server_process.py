"""The process of the embedded teacher: an OpenAI-compatible server over one model, on a loopback port.

Run    python -m netllama.teacher.server_process FOLDER     (standard input: a socket to the parent)

The system picks the port. The server writes it to the socket when the model is loaded and requests are accepted.

Requests that wait together are generated together, up to `MAX_ROWS` at a time. Each row is sampled from its
own `seed`, which `transformers serve` can't do; and its continuous batching on a CPU attends over all rows
laid end to end: 12 tokens a second with 8 prompts of 900 tokens on one core, against 20 with one plain batch.
"""

import contextlib
import json
import math
import os
import queue
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from netllama.core.cores import count_cores

MAX_ROWS = 16
WAIT = 0.1
"""Seconds of silence after which a batch begins: a client sends a round at once."""


class BadRequest(ValueError):
    """An `(HTTP 400)` of the API: its args are the code and the message."""


@dataclass
class Job:
    """One request, and where its answer is put."""

    ids: list[int]
    """The prompt's tokens."""
    settings: tuple[tuple[str, Any], ...]
    """max_tokens, temperature, top_p, penalties: rows with equal ones share a batch."""
    seed: int
    answer: "Future[tuple[str, str, int]]" = field(default_factory=Future)
    """(text, finish_reason, completion tokens)"""


class Model:
    """Tokenizer and weights; `generate` answers a batch of jobs."""

    def __init__(self, folder: str) -> None:
        from transformers import AutoTokenizer

        from netllama.core.sections import LoadingParams
        from netllama.models.loading import load_base
        from netllama.teacher.grouped_decoding import use_grouped_decoding

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model: Any = load_base(
            Path(folder),
            LoadingParams(precision="auto", quantization="none", double_quantization=False, quantized_weights="auto"),
        )
        use_grouped_decoding(self.model)
        ends = self.model.generation_config.eos_token_id
        self.ends = {ends} if isinstance(ends, int) else set(ends)

    def job(self, path: str, body: dict[str, Any]) -> Job:
        """The request's body as a job; `BadRequest` where it asks for what is not here."""
        if path.endswith("/chat/completions"):
            ids: Any = self.tokenizer.apply_chat_template(
                body["messages"], add_generation_prompt=True, return_dict=False
            )
        else:
            ids = self.tokenizer(body["prompt"]).input_ids
        if unknown := {"response_format", "stop"} & set(body):
            raise BadRequest("unsupported_parameter", f"the embedded teacher has no {' and no '.join(sorted(unknown))}")
        settings = {
            "max_tokens": int(body["max_tokens"]),
            "temperature": float(body["temperature"]),
            "top_p": float(body["top_p"]),
            "frequency_penalty": float(body.get("frequency_penalty", 0)),
            "presence_penalty": float(body.get("presence_penalty", 0)),
        }
        room = self.model.config.max_position_embeddings
        if len(ids) + settings["max_tokens"] > room:
            asked = f"{len(ids)} tokens of prompt and {settings['max_tokens']} of answer"
            raise BadRequest("context_length_exceeded", f"{asked} do not fit the model's {room}")
        return Job(ids, tuple(settings.items()), int(body.get("seed", 0)))

    def answer(self, jobs: list[Job]) -> None:
        """`generate`, with what it took in the log; when it fails, the error is the answer of each job."""
        start = time.monotonic()
        try:
            self.generate(jobs)
        except Exception as error:
            for job in jobs:
                job.answer.set_exception(error)
            return
        seconds, tokens = time.monotonic() - start, sum(job.answer.result()[2] for job in jobs)
        print(f"{len(jobs)} answers, {tokens} tokens in {seconds:.1f} s ({tokens / seconds:.0f} a second)", flush=True)

    def generate(self, jobs: list[Job]) -> None:
        """Answer `jobs`, which have equal settings."""
        import torch
        from transformers import DynamicCache, GenerationConfig, LogitsProcessorList

        from netllama.teacher.sampling import Sampler

        settings = dict(jobs[0].settings)
        limit = settings.pop("max_tokens")
        width = max(len(job.ids) for job in jobs)
        pad = next(iter(self.ends))
        # The prompts of a family begin with the same directive, a third of their tokens: it is read once for all
        # rows. The padding stands behind it, so that it is at the same places in each row.
        shared = _shared([job.ids for job in jobs]) if len(jobs) > 1 else 0
        gaps = [width - len(job.ids) for job in jobs]
        rows = [job.ids[:shared] + [pad] * gap + job.ids[shared:] for job, gap in zip(jobs, gaps, strict=True)]
        ids = torch.tensor(rows, device=self.model.device)
        mask = torch.ones_like(ids)
        for row, gap in enumerate(gaps):
            mask[row, shared : shared + gap] = 0
        config = GenerationConfig(
            max_new_tokens=limit, do_sample=False, pad_token_id=pad, eos_token_id=sorted(self.ends)
        )
        sampler = Sampler([job.seed for job in jobs], width, **settings)
        with torch.inference_mode():
            cache = None
            if shared:
                cache = DynamicCache(config=self.model.config)
                self.model(ids[:1, :shared], past_key_values=cache, logits_to_keep=1)
                cache.batch_repeat_interleave(len(jobs))
            answered = self.model.generate(
                ids,
                attention_mask=mask,
                past_key_values=cache,
                generation_config=config,
                logits_processor=LogitsProcessorList([sampler]),
            )
        for job, row in zip(jobs, answered[:, width:].tolist(), strict=True):
            end = next((place for place, token in enumerate(row) if token in self.ends), len(row))
            text = str(self.tokenizer.decode(row[:end], skip_special_tokens=True))
            job.answer.set_result((text, "stop" if end < len(row) else "length", end))


def _shared(prompts: list[list[int]]) -> int:
    """How many tokens all prompts begin with, the last one of each left out: it is what the answer goes on from."""
    first, last = min(prompts), max(prompts)  # in the order of words in a dictionary: what these share, all share
    pairs = enumerate(zip(first[:-1], last[:-1], strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(map(len, prompts)) - 1)


def work(model: Model, jobs: "queue.Queue[Job]", workers: int) -> None:
    """For ever: what waits in the queue, in one batch a worker."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[Job] = []
        while True:
            waiting += _gather(jobs, MAX_ROWS * workers - len(waiting), block=not waiting)
            equal = [job for job in waiting if job.settings == waiting[0].settings]
            waiting = [job for job in waiting if job not in equal]
            rows = math.ceil(len(equal) / workers)
            list(pool.map(model.answer, (equal[start : start + rows] for start in range(0, len(equal), rows))))


def _gather(jobs: "queue.Queue[Job]", most: int, block: bool) -> list[Job]:
    """What comes until nothing has come for `WAIT` seconds."""
    gathered = [jobs.get()] if block else []
    with contextlib.suppress(queue.Empty):
        while len(gathered) < most:
            gathered.append(jobs.get(timeout=WAIT))
    return gathered


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: Model
    jobs: "queue.Queue[Job]"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            job = self.model.job(self.path, body)
            self.jobs.put(job)
            text, finish_reason, tokens = job.answer.result()
        except BadRequest as error:
            code, message = error.args
            return self._send(400, {"error": {"code": code, "message": message, "type": "invalid_request_error"}})
        except Exception as error:
            return self._send(500, {"error": {"code": "server_error", "message": repr(error), "type": "server_error"}})
        chat = self.path.endswith("/chat/completions")
        content = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        usage = {"prompt_tokens": len(job.ids), "completion_tokens": tokens, "total_tokens": len(job.ids) + tokens}
        self._send(
            200,
            {
                "id": "embedded",
                "object": "chat.completion" if chat else "text_completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"index": 0, "finish_reason": finish_reason, "logprobs": None, **content}],
                "usage": usage,
            },
        )

    def _send(self, status: int, value: dict[str, Any]) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Batches are logged, not requests."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *args: object) -> None:
        """A client that hangs up while it waits is no error of ours."""


def _exit_with_parent() -> None:
    """The parent never writes: a read that returns means that the socket closed, so the parent is gone."""
    os.read(0, 1)
    os._exit(0)


def main(folder: str) -> None:
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    import torch

    # On a CPU each core has a batch of its own: the products of one step are too small to be shared between cores.
    workers = 1 if torch.cuda.is_available() else count_cores()
    torch.set_num_threads(1)
    _Handler.model, _Handler.jobs = Model(folder), queue.Queue()
    threading.Thread(target=work, args=(_Handler.model, _Handler.jobs, workers), daemon=True).start()
    with _Server(("127.0.0.1", 0), _Handler) as server:
        os.write(0, b"%d\n" % server.server_address[1])
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
