"""Two clients of a server: `llterm serve`, asked as OpenAI's servers are, and as a model.

llterm serve -m fable &
python -m examples.server_client http://127.0.0.1:8080
"""

from __future__ import annotations

import sys

import httpx2

import llterm


def main(address: str = "http://127.0.0.1:8080") -> tuple[str, str]:
    body = {"prompt": "The fox", "max_tokens": 8, "temperature": 0, "logprobs": 1}
    answer = httpx2.post(f"{address}/v1/completions", json=body, timeout=60).raise_for_status()
    choice = answer.json()["choices"][0]
    print("as a server:", choice["text"], choice["logprobs"]["token_logprobs"])

    with llterm.open(address) as model:
        (drawn,) = model.sample("The fox", tokens=8, temperature=0, heal=False)
    print("as a model: ", drawn.text, [token.logprob for token in drawn.tokens])
    return choice["text"], drawn.text


if __name__ == "__main__":
    main(*sys.argv[1:2])
