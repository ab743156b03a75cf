"""The process of the embedded teacher: an OpenAI-compatible server over one model, on a loopback port.

Run    python -m netllama.teacher.server_process FOLDER     (standard input: a socket to the parent)

The system picks the port. The server writes it to the socket when the model is loaded and requests are accepted.

Requests that wait at the same time are decoded together, up to `MAX_ROWS` in a group, and each row is sampled from its
own `seed`. `transformers serve` cannot do that, and its continuous batching on a CPU attends over all rows laid end to
end: 12 tokens a second with 8 prompts of 900 tokens on one core, while one plain group gives 20.
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
"""Seconds without a new request after which decoding begins; a client sends all requests of a round at once."""


class BadRequest(ValueError):
    """A request that is answered with HTTP 400; the arguments are the API's error code and the message."""


@dataclass
class Job:
    """One request, and the future that receives its answer."""

    ids: list[int]
    """The tokens of the prompt."""
    settings: tuple[tuple[str, Any], ...]
    """max_tokens, temperature, top_p and penalties. Only jobs with equal settings are decoded together."""
    seed: int
    answer: "Future[tuple[str, str, int]]" = field(default_factory=Future)
    """(text, finish_reason, completion tokens)"""


class TeacherModel:
    """Tokenizer and weights; `generate_answers` decodes jobs together."""

    def __init__(self, folder: str) -> None:
        from transformers import AutoTokenizer

        from netllama.core.sections import LoadingParams
        from netllama.models.loading import load_base

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model: Any = load_base(
            Path(folder),
            LoadingParams(precision="auto", quantization="none", double_quantization=False, quantized_weights="auto"),
        )
        ends = self.model.generation_config.eos_token_id
        self.ends = {ends} if isinstance(ends, int) else set(ends)

    def make_job(self, path: str, body: dict[str, Any]) -> Job:
        """The request's body as a job; raises `BadRequest` if it asks for something this server does not have."""
        if path.endswith("/chat/completions"):
            ids: Any = self.tokenizer.apply_chat_template(
                body["messages"], add_generation_prompt=True, return_dict=False
            )
        else:
            ids = self.tokenizer(body["prompt"]).input_ids
        if unknown := {"response_format", "stop"} & set(body):
            raise BadRequest(
                "unsupported_parameter", f"the embedded teacher does not support {' and '.join(sorted(unknown))}"
            )
        settings = {
            "max_tokens": int(body["max_tokens"]),
            "temperature": float(body.get("temperature", 1)),
            "top_p": float(body.get("top_p", 1)),
            "frequency_penalty": float(body.get("frequency_penalty", 0)),
            "presence_penalty": float(body.get("presence_penalty", 0)),
        }
        room = self.model.config.max_position_embeddings
        if len(ids) + settings["max_tokens"] > room:
            asked = f"{len(ids)} prompt tokens and {settings['max_tokens']} answer tokens"
            raise BadRequest("context_length_exceeded", f"{asked} exceed the model's {room}; lower teacher.max_tokens")
        return Job(ids, tuple(settings.items()), int(body.get("seed", 0)))

    def answer_jobs(self, jobs: list[Job]) -> None:
        """Answer jobs with equal settings and log the speed. If that fails, every job gets the error."""
        start = time.monotonic()
        try:
            self.generate_answers(jobs)
        except Exception as error:
            for job in jobs:
                job.answer.set_exception(error)
            return
        seconds, tokens = time.monotonic() - start, sum(job.answer.result()[2] for job in jobs)
        print(f"{len(jobs)} answers, {tokens} tokens in {seconds:.1f} s ({tokens / seconds:.0f} a second)", flush=True)

    def generate_answers(self, jobs: list[Job]) -> None:
        """Decode jobs with equal settings together."""
        import torch
        from transformers import DynamicCache, GenerationConfig, LogitsProcessorList

        from netllama.teacher.sampling import Sampler

        settings = dict(jobs[0].settings)
        limit = settings.pop("max_tokens")
        width = max(len(job.ids) for job in jobs)
        pad = next(iter(self.ends))
        # The prompts of a family begin with the same directive, a third of their tokens. It is processed once for all
        # rows, and the padding stands behind it, so that the directive has the same positions in each row.
        shared = _count_shared_tokens([job.ids for job in jobs]) if len(jobs) > 1 else 0
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


def _count_shared_tokens(prompts: list[list[int]]) -> int:
    """How many tokens all prompts begin with. The last token of a prompt never counts: the answer continues from it."""
    first, last = min(prompts), max(prompts)  # in dictionary order, so all prompts share what these two share
    pairs = enumerate(zip(first[:-1], last[:-1], strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(map(len, prompts)) - 1)


def serve_queue(model: TeacherModel, jobs: "queue.Queue[Job]", workers: int) -> None:
    """Answer the jobs in the queue forever, one group of jobs per worker at a time."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[Job] = []
        while True:
            waiting += _gather_jobs(jobs, MAX_ROWS * workers - len(waiting), block=not waiting)
            equal = [job for job in waiting if job.settings == waiting[0].settings]
            waiting = [job for job in waiting if job not in equal]
            rows = math.ceil(len(equal) / workers)
            list(pool.map(model.answer_jobs, (equal[start : start + rows] for start in range(0, len(equal), rows))))


def _gather_jobs(jobs: "queue.Queue[Job]", most: int, block: bool) -> list[Job]:
    """Take up to `most` jobs from the queue, until none has arrived for `WAIT` seconds. `block`: wait for the first."""
    gathered = [jobs.get()] if block else []
    with contextlib.suppress(queue.Empty):
        while len(gathered) < most:
            gathered.append(jobs.get(timeout=WAIT))
    return gathered


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: TeacherModel
    jobs: "queue.Queue[Job]"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            job = self.model.make_job(self.path, body)
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
        """Logs nothing for each request; `answer_jobs` logs groups."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *args: object) -> None:
        """Ignores clients that disconnect while they wait."""


def _exit_with_parent() -> None:
    """Exit when a read returns: the parent never writes, so the socket has closed and the parent has ended."""
    os.read(0, 1)
    os._exit(0)


def main(folder: str) -> None:
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    import torch

    # On a CPU each core decodes its own group: the matrix products of one step are too small to share between cores.
    workers = 1 if torch.cuda.is_available() else count_cores()
    torch.set_num_threads(1)
    _Handler.model, _Handler.jobs = TeacherModel(folder), queue.Queue()
    threading.Thread(target=serve_queue, args=(_Handler.model, _Handler.jobs, workers), daemon=True).start()
    with _Server(("127.0.0.1", 0), _Handler) as server:
        os.write(0, b"%d\n" % server.server_address[1])
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
