"""Stand-ins for servers that cannot run here: one little model, in each server's own words.

Every `Server` writes the shape that its project publishes; the docstrings say where. What each
loses (parts of characters, ends) is lost here in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar
from uuid import uuid4

from llterm.backends.remote.transport import Reply, RequestRefused
from llterm.core.tokens import Tail
from tests.helpers.little_model import (
    END,
    TEMPLATE,
    Server,
    chat_text,
    listed,
)


class LlamaServer(Server):
    """tools/server/README.md and server-task.cpp (`completion_token_output::to_json`) of llama.cpp.

    A position whose token ends inside a character is not in `completion_probabilities`; parts of
    characters and special tokens are shown as no text.
    """

    dialect: ClassVar[str] = "llama"
    paths: ClassVar[Mapping[str, Any]] = {
        "/props": {"default_generation_settings": {"n_ctx": 512}, "total_slots": 2,
                   "model_path": "tiny.gguf", "eos_token": "<|endoftext|>", "build_info": "b1",
                   "chat_template": TEMPLATE},
        "/v1/models": {"object": "list", "data": [{"id": "tiny", "object": "model",
                       "owned_by": "llamacpp", "meta": {"vocab_type": 2, "n_vocab": 11}}]},
    }  # fmt: skip

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if path == "/tokenize":
            if body["add_special"]:
                return {"tokens": []}
            ids = self.cut(body["content"].encode())
            return {"tokens": [{"id": id, "piece": self._piece(id)} for id in ids]}
        if path == "/detokenize":
            return {"content": "".join(self.shown(id, ends=True) for id in body["tokens"])}
        self.refuse(body["n_probs"])
        found = [self._item(n, one, body) for n, one in enumerate(self.prompts_of(body["prompt"]))]
        return found[0] if len(found) == 1 else found

    def events(self, body: Mapping[str, Any]) -> Sequence[Any]:
        made: list[Any] = [None]
        for index, tokens in enumerate(self.prompts_of(body["prompt"])):
            item = self._item(index, tokens, body)
            entries = {one["id"]: one for one in item.get("completion_probabilities", ())}
            for at, id in enumerate(item["tokens"]):
                if id in entries:
                    made.append({"index": index, "tokens": [id], "tokens_predicted": at + 1,
                                 "completion_probabilities": [entries[id]]})  # fmt: skip
            made.append({"index": index, "tokens": [], "tokens_predicted": len(item["tokens"])})
        return made

    def _item(self, index: int, tokens: Tail, body: Mapping[str, Any]) -> Any:
        bias = dict(body.get("logit_bias", ()))
        line = self.line(tokens, body["n_predict"])
        if bias:
            before = line[0][1]
            line = [(max(bias, key=lambda id: (bias[id], before.get(id, -math.inf))), before)]
        ids = [chosen for chosen, _ in line]
        item: dict[str, Any] = {"index": index, "tokens": ids, "tokens_predicted": len(ids),
                                "timings/prompt_n": len(tokens), "timings/cache_n": 0}  # fmt: skip
        top = body["n_probs"]
        if body.get("post_sampling_probs"):
            ((_, before),) = line
            raised = {id: math.exp(before[id] + bias[id]) for id in bias}
            mass = sum(raised.values())
            entries = [self._entry(id, "prob", p / mass)
                       for id, p in sorted(raised.items(), key=lambda item: -item[1])]  # fmt: skip
            # The choice is by chance; here it is the most probable one.
            if entries[0]["id"] not in self.halves:
                item["completion_probabilities"] = [{**entries[0], "top_probs": entries[:top]}]
            return item
        told = [
            {**self._entry(chosen, "logprob", before[chosen]),
             "top_logprobs": [self._entry(id, "logprob", lp) for id, lp in listed(before, top)]}
            for chosen, before in line if chosen not in self.halves
        ]  # fmt: skip
        if told and not self.mute:
            item["completion_probabilities"] = told
        return item

    def _entry(self, id: int, name: str, value: float) -> dict[str, Any]:
        data = b"" if id == END else self.vocabulary[id]
        return {"id": id, "token": self.shown(id), "bytes": list(data), name: value}

    def _piece(self, id: int) -> Any:
        return list(self.vocabulary[id]) if id in self.halves else self.vocabulary[id].decode()


class OldLlamaServer(LlamaServer):
    """llama.cpp before December 2024: `probs` of `tok_str` and `prob`, and no ids."""

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if path != "/completion":
            return super().answer(path, body)
        found = []
        for index, tokens in enumerate(self.prompts_of(body["prompt"])):
            entries = [
                {"content": self.shown(chosen),
                 "probs": [{"tok_str": self.shown(id), "prob": math.exp(lp)}
                           for id, lp in listed(before, body["n_probs"])]}
                for chosen, before in self.line(tokens, body["n_predict"])
            ]  # fmt: skip
            found.append({"index": index, **({} if self.mute else
                                             {"completion_probabilities": entries})})  # fmt: skip
        return found[0] if len(found) == 1 else found


def legacy(line: Sequence[tuple[int, Mapping[int, float]]], top: int, name: Any) -> Any:
    """OpenAI's legacy arrays (platform.openai.com, Completions object)."""
    return {
        "tokens": [name(chosen) for chosen, _ in line],
        "token_logprobs": [before.get(chosen) for chosen, before in line],
        "top_logprobs": [{name(id): lp for id, lp in reversed(listed(before, top))}
                         for _, before in line],
        "text_offset": [0] * len(line),
    }  # fmt: skip


class CompletionsServer(Server):
    """OpenAI's legacy completions: five candidates, parts of characters as `bytes:\\x..`."""

    dialect: ClassVar[str] = "completions"
    paths: ClassVar[Mapping[str, Any]] = {
        "/v1/models": {"object": "list", "data": [{"id": "davinci-002", "owned_by": "system"}]},
    }  # fmt: skip
    most: ClassVar[int | None] = 5
    told: ClassVar[str] = "Invalid value for 'logprobs': must be less than or equal to {most}."

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if path != "/v1/completions":
            raise RequestRefused(404, None, "not found", "The server has no such address")
        self.refuse(body["logprobs"])
        if body.get("echo"):
            raise RequestRefused(400, None, "Setting 'echo' and 'logprobs' at the same time is not"
                          " supported", "The server refused")  # fmt: skip
        choices = []
        for index, tokens in enumerate(self.prompts_of(body["prompt"])):
            line = self.line(tokens, body["max_tokens"])
            entries = None if self.mute else legacy(line, body["logprobs"], self.text)
            choices.append({"index": index, "text": "", "logprobs": entries})
        return {"object": "text_completion", "choices": choices}

    def text(self, id: int) -> str:
        if id in self.halves:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in self.vocabulary[id])
        return self.shown(id, ends=True)


class EchoServer(CompletionsServer):
    """llama-cpp-python's server (`llama_cpp/llama.py`, `_create_completion`): it echoes; bytes that
    are no UTF-8 are left out of a token's text; it takes no lists of prompts."""

    paths: ClassVar[Mapping[str, Any]] = {
        "/v1/models": {"object": "list", "data": [{"id": "tiny", "owned_by": "me"}]},
    }  # fmt: skip
    most: ClassVar[int | None] = None

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if not body.get("echo"):
            return super().answer(path, body)
        (tokens,) = self.prompts_of(body["prompt"])
        line: list[tuple[int, Mapping[int, float]]] = [(tokens[0], {})]
        for at in range(1, len(tokens)):
            line.append((tokens[at], self.line(tokens[:at], 1)[0][1]))
        line += self.line(tokens, 1)
        entries = legacy(line, body["logprobs"], self.text)
        entries["token_logprobs"][0] = entries["top_logprobs"][0] = None
        return {"choices": [{"index": 0, "text": "", "logprobs": entries}]}

    def text(self, id: int) -> str:
        return self.vocabulary[id].decode("utf-8", "ignore")


class VllmServer(CompletionsServer):
    """vLLM: vllm/entrypoints/openai/completion (`return_tokens_as_token_ids`, `prompt_logprobs`),
    and /tokenize with `return_token_strs`."""

    dialect: ClassVar[str] = "vllm"
    paths: ClassVar[Mapping[str, Any]] = {
        "/v1/models": {"object": "list", "data": [{"id": "tiny", "owned_by": "vllm",
                                                   "max_model_len": 512}]},
        "/version": {"version": "0.32.0"},
    }  # fmt: skip
    most: ClassVar[int | None] = 20
    told: ClassVar[str] = (
        "Requested sample logprobs of {top}, which is greater than max allowed: {most}"
    )

    async def get(self, path: str) -> Reply:
        """What it lists has a time and a permission's id that are made up for each answer."""
        reply = await super().get(path)
        if path != "/v1/models":
            return reply
        made_up = uuid4().hex
        models = [
            {**one, "created": int(made_up[:8], 16), "permission": [{"id": f"modelperm-{made_up}"}]}
            for one in reply.data["data"]
        ]
        return replace(reply, data={"object": "list", "data": models})

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if path == "/tokenize":
            ids = (
                self.chat_ids(body["messages"])
                if "messages" in body
                else self.cut(body["prompt"].encode())
            )
            return {"tokens": list(ids), "count": len(ids), "max_model_len": 512,
                    "token_strs": [file_spelling(self.vocabulary[id]) for id in ids]}  # fmt: skip
        if path == "/detokenize":
            data = b"".join(self.vocabulary[id] for id in body["tokens"])
            return {"prompt": data.decode("utf-8", "replace")}
        answer = super().answer(path, body)
        if body.get("prompt_logprobs") is not None:
            (tokens,) = self.prompts_of(body["prompt"])
            places: list[Any] = [None]
            for at in range(1, len(tokens)):
                before = self.line(tokens[:at], 1)[0][1]
                chosen = {tokens[at]: before[tokens[at]]}
                top = {**chosen, **dict(listed(before, body["prompt_logprobs"]))}
                ranks = {id: rank for rank, id in enumerate(before, 1)}
                places.append({
                    str(id): {"logprob": lp, "rank": ranks[id], "decoded_token": self.decoded(id)}
                    for id, lp in top.items()
                })  # fmt: skip
            answer["choices"][0].update(prompt_logprobs=places, prompt_token_ids=list(tokens))
        return answer

    def text(self, id: int) -> str:
        return f"token_id:{id}"

    def decoded(self, id: int) -> str:
        return self.shown(id)


def file_spelling(data: bytes) -> str:
    """As a byte-level vocabulary's file spells a token."""
    from llterm.backends.remote.token_spelling import _BYTES

    names = {byte: name for name, byte in _BYTES.items()}
    return "".join(names[byte] for byte in data)


class SglangServer(Server):
    """SGLang: docs/basic_usage/native_api and `meta_info` of /generate: `[logprob, id, text]`."""

    dialect: ClassVar[str] = "sglang"
    paths: ClassVar[Mapping[str, Any]] = {
        "/get_model_info": {"model_path": "org/tiny", "is_generation": True},
        "/get_server_info": {"version": "0.5.23"},
        "/v1/models": {"data": [{"id": "org/tiny", "owned_by": "sglang", "max_model_len": 512}]},
    }  # fmt: skip

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if path == "/tokenize":
            ids = (
                self.chat_ids(body["messages"])
                if "messages" in body
                else self.cut(body["prompt"].encode())
            )
            return {"tokens": list(ids), "count": len(ids), "max_model_len": 512}
        if path == "/detokenize":
            data = b"".join(self.vocabulary[id] for id in body["tokens"])
            return {"text": data.decode("utf-8", "replace")}
        prompts = self.prompts_of(body["input_ids"])
        found = [self._item(tokens, body) for tokens in prompts]
        return found if isinstance(body["input_ids"][0], list) else found[0]

    def _item(self, tokens: Tail, body: Mapping[str, Any]) -> Any:
        top = body["top_logprobs_num"]
        line = self.line(tokens, body["sampling_params"]["max_new_tokens"])
        meta: dict[str, Any] = {"prompt_tokens": len(tokens), "cached_tokens": 0}
        meta["output_token_logprobs"] = [[before[id], id, None] for id, before in line]
        meta["output_top_logprobs"] = [[[lp, id, None] for id, lp in listed(before, top)]
                                       for _, before in line]  # fmt: skip
        if self.mute:
            meta["output_top_logprobs"] = meta["output_token_logprobs"] = []
        if body.get("logprob_start_len") == 0:
            befores = [self.line(tokens[:at], 1)[0][1] for at in range(1, len(tokens))]
            own = zip(tokens[1:], befores, strict=True)
            meta["input_token_logprobs"] = [
                [None, tokens[0], None],
                *([before[id], id, None] for id, before in own),
            ]
            meta["input_top_logprobs"] = [
                None,
                *([[lp, id, None] for id, lp in listed(before, top)] for before in befores),
            ]
        return {"text": "", "meta_info": meta}  # fmt: skip


class TabbyServer(CompletionsServer):
    """TabbyAPI: endpoints/OAI/types/completion.py (`CompletionLogProbs`), by vocabulary pieces."""

    dialect: ClassVar[str] = "tabby"
    paths: ClassVar[Mapping[str, Any]] = {
        "/v1/models": {"object": "list", "data": [{"id": "tiny-exl3", "owned_by": "tabbyAPI"}]},
        "/v1/model": {"id": "tiny-exl3", "owned_by": "tabbyAPI",
                      "parameters": {"max_seq_len": 512, "prompt_template_content": TEMPLATE}},
    }  # fmt: skip
    most: ClassVar[int | None] = None

    def text(self, id: int) -> str:
        return self.shown(id, ends=True)


class WebuiServer(CompletionsServer):
    """text-generation-webui: modules/api/completions.py (`completions_common`)."""

    dialect: ClassVar[str] = "webui"
    paths: ClassVar[Mapping[str, Any]] = {
        "/v1/internal/model/info": {"model_name": "tiny", "lora_names": []},
        "/v1/models": {"object": "list", "data": [{"id": "tiny", "owned_by": "user"}]},
    }  # fmt: skip
    most: ClassVar[int | None] = None

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if path == "/v1/internal/chat-prompt":
            assert body["mode"] == "instruct"
            return {"prompt": chat_text(body["messages"])}
        answer = super().answer(path, body)
        for choice in answer["choices"]:
            if choice["logprobs"] is not None:
                choice["logprobs"] = {"top_logprobs": choice["logprobs"]["top_logprobs"]}
        return answer

    def text(self, id: int) -> str:
        return self.shown(id)


def content(line: Sequence[tuple[int, Mapping[int, float]]], top: int, text: Any) -> list[Any]:
    """Chat's shape (platform.openai.com, chat completion object, `logprobs.content`)."""
    return [
        {"token": text(chosen), "logprob": before[chosen], "bytes": list(text(chosen).encode()),
         "top_logprobs": [{"token": text(id), "logprob": lp, "bytes": list(text(id).encode())}
                          for id, lp in listed(before, top)]}
        for chosen, before in line
    ]  # fmt: skip


class OllamaServer(Server):
    """Ollama: docs/api.md (`logprobs`, `top_logprobs` of /api/generate) and llm/server.go: a step
    whose token shows no text tells nothing."""

    dialect: ClassVar[str] = "ollama"
    paths: ClassVar[Mapping[str, Any]] = {
        "/api/version": {"version": "0.14.0"},
        "/api/tags": {"models": [{"name": "tiny:latest"}]},
        "/v1/models": {"object": "list", "data": [{"id": "tiny:latest", "owned_by": "library"}]},
    }  # fmt: skip
    most: ClassVar[int | None] = 20
    told: ClassVar[str] = "top_logprobs must be between 0 and {most}"

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if path == "/api/chat":
            assert body["_debug_render_only"]
            shown_as = {"rendered_template": chat_text(body["messages"])}
            return {"model": "tiny:latest", "_debug_info": shown_as}
        self.refuse(body["top_logprobs"])
        (tokens,) = self.prompts_of(body["prompt"])
        line = self.line(tokens, body["options"]["num_predict"])
        if body["options"]["temperature"]:
            # By chance, something else than the first choice.
            _, before = line[0]
            line = [(listed(before, 2)[1][0], before)]
        seen = [step for step in line if step[0] not in (END, *self.halves)]
        entries = content(seen, body["top_logprobs"], self.shown)
        text = b"".join(self.vocabulary[id] for id, _ in line if id != END).decode(
            "utf-8", "replace"
        )
        found = {"model": "tiny:latest", "response": text, "done": True, "done_reason": "length"}
        return found if self.mute or not entries else {**found, "logprobs": entries}


class KoboldServer(Server):
    """KoboldCpp: koboldcpp.py (`parse_last_logprobs`), answer of /api/v1/generate."""

    dialect: ClassVar[str] = "kobold"
    paths: ClassVar[Mapping[str, Any]] = {
        "/api/extra/version": {"result": "KoboldCpp", "version": "1.102"},
        "/api/v1/model": {"result": "koboldcpp/tiny"},
        "/api/extra/true_max_context_length": {"value": 512},
        # It imitates these two.
        "/api/version": {"version": "0.7.0"},
        "/props": {"default_generation_settings": {"n_ctx": 512}, "total_slots": 1,
                   "chat_template": TEMPLATE},
        "/v1/models": {"object": "list", "data": [{"id": "koboldcpp/tiny",
                                                   "owned_by": "koboldcpp"}]},
    }  # fmt: skip

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        (tokens,) = self.prompts_of(body["prompt"])

        def text(id: int) -> str:
            return "" if id == END else self.vocabulary[id].decode("utf-8", "ignore")

        entries = content(self.line(tokens, body["max_length"]), 5, text)
        logprobs = None if self.mute else {"content": entries}
        return {"results": [{"text": "", "finish_reason": "length", "logprobs": logprobs}]}


class MlxServer(Server):
    """mlx_lm (`mlx_lm/server.py`): a boolean `logprobs`, an unsorted list of the best whose first
    entry stands for the position, tokens as in the vocabulary's file, and a list of models that
    has no answer's body. It dies of a prompt that is all in its cache."""

    dialect: ClassVar[str] = "mlx"
    paths: ClassVar[Mapping[str, Any]] = {"/v1/models": None}
    most: ClassVar[int | None] = 11
    told: ClassVar[str] = "top_logprobs must be at most {most}"

    def __init__(self) -> None:
        super().__init__()
        self.cached: list[Tail] = []

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if path != "/v1/completions":
            raise RequestRefused(404, None, "Not Found", "The server has no such address")
        if not isinstance(body["logprobs"], bool):
            told = "logprobs must be of type bool"
            raise RequestRefused(400, {"error": told}, told, "The server refused")
        self.refuse(body["top_logprobs"])
        (tokens,) = self.prompts_of(body["prompt"])
        assert tokens not in self.cached, "Sequence 43 has an empty prompt."
        line = self.line(tokens, body["max_tokens"])
        ended = line[-1][0] == END
        full = (*tokens, *(chosen for chosen, _ in line))
        self.cached = [other for other in self.cached if full[: len(other)] != other] + [full]
        entries = []
        for chosen, before in line:
            top = [] if self.mute else listed(before, body["top_logprobs"])
            unsorted = [{"id": id, "token": file_spelling(self.vocabulary[id]), "logprob": lp}
                        for id, lp in (*top[2:], *top[:2])]  # fmt: skip
            entries.append({**unsorted[0], "top_logprobs": unsorted} if unsorted else
                           {"id": chosen, "logprob": before[chosen]})  # fmt: skip
        text = b"".join(self.vocabulary[id] for id, _ in line if id != END).decode(
            "utf-8", "replace"
        )
        return {"object": "text_completion", "model": body["model"],
                "choices": [{"index": 0, "finish_reason": "stop" if ended else "length",
                             "text": text, "logprobs": {"content": entries}}]}  # fmt: skip


class ChatServer(Server):
    """OpenAI's chat, as DeepSeek speaks it (api-docs.deepseek.com, chat prefix completion)."""

    dialect: ClassVar[str] = "chat"
    paths: ClassVar[Mapping[str, Any]] = {
        "/v1/models": {"object": "list", "data": [{"id": "deepseek-chat", "owned_by": "deepseek"}]},
    }  # fmt: skip
    most: ClassVar[int | None] = 20
    told: ClassVar[str] = (
        "Invalid top_logprobs value, the valid range of top_logprobs is [0, {most}]"
    )

    def __init__(self) -> None:
        super().__init__()
        self.name = "https://api.deepseek.com/beta"

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if path != "/v1/chat/completions":
            raise RequestRefused(404, None, "not found", "The server has no such address")
        self.refuse(body["top_logprobs"])
        *_, last = body["messages"]
        assert last["role"] == "user" or last["prefix"]
        (tokens,) = self.prompts_of(last["content"])
        line = self.line(tokens, body["max_tokens"])
        entries = content(line, body["top_logprobs"], self.shown)
        for entry in (one for step in entries for one in (step, *step["top_logprobs"])):
            if "\ufffd" in entry["token"]:
                entry["bytes"] = None
        logprobs = None if self.mute else {"content": entries}
        return {"choices": [{"index": 0, "message": {"role": "assistant"}, "logprobs": logprobs}]}


SERVERS: Sequence[type[Any]] = (
    LlamaServer, OldLlamaServer, VllmServer, SglangServer, TabbyServer, OllamaServer, KoboldServer,
    WebuiServer, CompletionsServer, EchoServer, MlxServer, ChatServer,
)  # fmt: skip
