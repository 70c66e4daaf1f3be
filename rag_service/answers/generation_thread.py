"""One run of a transformers model in a thread of its own, so that its text can be read while it is being made."""

import threading
import time
from typing import Any

from rag_service.answers.models import Pieces


class GenerationThread:
    """Generates greedily; ends at the token limit, at the time limit, or when its reader goes away."""

    def __init__(self, model: Any, tokenizer: Any, tokens: Any, most_tokens: int, timeout_seconds: float) -> None:
        from transformers import StoppingCriteriaList, TextIteratorStreamer

        self._model, self._tokens, self._most_tokens = model, tokens, most_tokens
        self._deadline = time.monotonic() + timeout_seconds
        self._abandoned = threading.Event()
        self._streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._criteria = StoppingCriteriaList([self._must_stop])
        self._stopped = False
        self._written = 0
        self._error: BaseException | None = None

    def pieces(self) -> Pieces:
        """What is written; returns whether the model ended it itself."""
        thread = threading.Thread(target=self._run, name="answer-model", daemon=True)
        thread.start()
        try:
            for piece in self._streamer:
                if piece:
                    yield piece
        finally:
            self._abandoned.set()
            thread.join()
        if self._error is not None:
            raise self._error
        return not self._stopped and self._written < self._most_tokens

    def _run(self) -> None:
        import torch

        try:
            with torch.inference_mode():
                output = self._model.generate(
                    **self._tokens,
                    do_sample=False,
                    max_new_tokens=self._most_tokens,
                    streamer=self._streamer,
                    stopping_criteria=self._criteria,
                )
            # A decoder of its own starts with one start token; a causal model repeats the prompt.
            start = 1 if self._model.config.is_encoder_decoder else self._tokens["input_ids"].shape[1]
            self._written = int(output.shape[1]) - start
        except BaseException as error:  # noqa: BLE001  raised again where the text is read
            self._error = error
        finally:
            self._streamer.end()  # type: ignore[no-untyped-call]

    def _must_stop(self, input_ids: Any, _scores: Any, **_: Any) -> Any:
        import torch

        late = time.monotonic() > self._deadline or self._abandoned.is_set()
        self._stopped = self._stopped or late
        return torch.full((input_ids.shape[0],), late, dtype=torch.bool, device=input_ids.device)
