"""The process of the embedded teacher: an OpenAI-compatible server over one model, on a loopback port.

Run    python -m netllama.teacher.server_process FOLDER     (standard input: a socket to the parent)

The system picks the port. The server writes it to the socket when the model is loaded and requests are accepted.

Each request is decoded by itself, on one core, and sampled from its own `seed`: on one machine its answer is a function
of the request alone. In a group its last bits, and so the tokens drawn, would depend on the rows beside it, that is on
when other requests arrive (4 of 8 answers differed between two undisturbed runs). `transformers serve` samples all rows
from one global generator.
"""

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from netllama.core.cores import count_cores
from netllama.core.tokenizer_files import load_tokenizer


class BadRequest(ValueError):
    """A request that is answered with HTTP 400; the arguments are the API's error code and the message."""


@dataclass(frozen=True)
class Job:
    """One request."""

    ids: list[int]
    """The tokens of the prompt."""
    max_tokens: int
    settings: dict[str, float]
    """Temperature, top_p and penalties."""
    seed: int


@dataclass(frozen=True)
class Completion:
    """What the model wrote."""

    text: str
    finish_reason: str
    tokens: int


class TeacherModel:
    """Tokenizer and weights."""

    def __init__(self, folder: str) -> None:
        from netllama.core.sections import LoadingParams
        from netllama.models.loading import load_base

        self.tokenizer: Any = load_tokenizer(folder)
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
        limit = int(body["max_tokens"])
        settings = {
            "temperature": float(body.get("temperature", 1)),
            "top_p": float(body.get("top_p", 1)),
            "frequency_penalty": float(body.get("frequency_penalty", 0)),
            "presence_penalty": float(body.get("presence_penalty", 0)),
        }
        room = self.model.config.max_position_embeddings
        if len(ids) + limit > room:
            asked = f"{len(ids)} prompt tokens and {limit} answer tokens"
            raise BadRequest("context_length_exceeded", f"{asked} exceed the model's {room}; lower teacher.max_tokens")
        return Job(ids, limit, settings, int(body.get("seed", 0)))

    def answer(self, job: Job) -> Completion:
        """Decode one job, and log the speed."""
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        from netllama.teacher.sampling import Sampler

        start = time.monotonic()
        ids = torch.tensor([job.ids], device=self.model.device)
        ends = sorted(self.ends)
        config = GenerationConfig(
            max_new_tokens=job.max_tokens, do_sample=False, pad_token_id=ends[0], eos_token_id=ends
        )
        sampler = Sampler([job.seed], len(job.ids), **job.settings)
        with torch.inference_mode():
            answered = self.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                generation_config=config,
                logits_processor=LogitsProcessorList([sampler]),
            )
        row = answered[0, len(job.ids) :].tolist()
        end = next((place for place, token in enumerate(row) if token in self.ends), len(row))
        seconds = time.monotonic() - start
        print(f"{end} tokens in {seconds:.1f} s ({end / seconds:.0f} a second)", flush=True)
        text = str(self.tokenizer.decode(row[:end], skip_special_tokens=True))
        return Completion(text, "stop" if end < len(row) else "length", end)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    model: TeacherModel
    cores: ThreadPoolExecutor

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            job = self.model.make_job(self.path, body)
            written = self.cores.submit(self.model.answer, job).result()
        except BadRequest as error:
            code, message = error.args
            return self._send(400, {"error": {"code": code, "message": message, "type": "invalid_request_error"}})
        except Exception as error:
            return self._send(500, {"error": {"code": "server_error", "message": repr(error), "type": "server_error"}})
        chat = self.path.endswith("/chat/completions")
        content = {"message": {"role": "assistant", "content": written.text}} if chat else {"text": written.text}
        usage = {
            "prompt_tokens": len(job.ids),
            "completion_tokens": written.tokens,
            "total_tokens": len(job.ids) + written.tokens,
        }
        self._send(
            200,
            {
                "id": "embedded",
                "object": "chat.completion" if chat else "text_completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"index": 0, "finish_reason": written.finish_reason, "logprobs": None, **content}],
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
        """Logs nothing for each request; `answer` does."""


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

    # On a CPU each core decodes its own request: the matrix products of one step are too small to share between cores,
    # and how they were shared would decide the last bits.
    workers = 1 if torch.cuda.is_available() else count_cores()
    torch.set_num_threads(1)
    _Handler.model, _Handler.cores = TeacherModel(folder), ThreadPoolExecutor(workers)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        os.write(0, b"%d\n" % server.server_address[1])
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
