"""A request whose answer is free text: what the filters `runs` and `agrees` ask the teacher."""

from netllama.core.teacher_section import TeacherParams
from netllama.teacher.store import EMBEDDED, Request


def build_text_request(
    teacher: TeacherParams, task: str, material: str, prompt: str, *, model: str, draw: str
) -> Request:
    """`task` and `material` are the two messages of a chat; `prompt` is both as one text, for `completions`."""
    completion = teacher.api == "completions"
    messages = [{"role": "system", "content": task}, {"role": "user", "content": material}]
    return Request(
        teacher=teacher.base_url or EMBEDDED,
        model=model,
        api=teacher.api,
        prompt=prompt if completion else None,
        messages=None if completion else messages,
        temperature=teacher.temperature,
        top_p=teacher.top_p,
        reasoning_effort=teacher.reasoning_effort,
        max_tokens=teacher.max_answer_tokens,
        service_tier=teacher.service_tier,
        draw=draw,
    )
