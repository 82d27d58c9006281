"""Tiny random GGUF models of several architectures, written in well under a second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MERGES = ["Ġ t", "h e", "Ġt he", "Ġ a", "Ġ b", "e a", "Ġb ea", "i n", "Ġ c", "a t", "Ġc at", "o n"]
WIDTH, HEADS, HEAD, LAYERS, HIDDEN = 64, 4, 16, 2, 128
INNER, STATE, CONVOLUTION, STEP_RANK = 128, 8, 4, 4

Array = NDArray[np.float32]


def _spelling() -> list[str]:
    """GPT-2's printable spelling of the 256 bytes, by the rule that paper's code publishes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


class _Writer:
    """A GGUF being written, with random weights from one seed."""

    def __init__(self, path: Path, architecture: str, context: int, seed: int) -> None:
        import gguf

        self.path = path
        self.raw = gguf.GGUFWriter(str(path), architecture)
        self._random = np.random.default_rng(seed)
        self.raw.add_name(f"tiny-{architecture}")
        self.raw.add_context_length(context)
        self.raw.add_embedding_length(WIDTH)
        self.raw.add_block_count(LAYERS)
        self.raw.add_feed_forward_length(HIDDEN)
        self.raw.add_layer_norm_rms_eps(1e-5)
        self.raw.add_file_type(0)

    def weight(self, name: str, *shape: int, scale: float = 1.0) -> None:
        spread = scale / np.sqrt(shape[-1])
        data: Array = self._random.normal(0, spread, shape).astype(np.float32)
        self.raw.add_tensor(name, data)

    def ones(self, name: str, size: int) -> None:
        self.raw.add_tensor(name, np.ones(size, dtype=np.float32))

    def attention(self, block: str) -> None:
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            self.weight(f"{block}.{name}.weight", WIDTH, WIDTH, scale=2.0)

    def feed_forward(self, block: str) -> None:
        self.ones(f"{block}.ffn_norm.weight", WIDTH)
        self.weight(f"{block}.ffn_gate.weight", HIDDEN, WIDTH)
        self.weight(f"{block}.ffn_up.weight", HIDDEN, WIDTH)
        self.weight(f"{block}.ffn_down.weight", WIDTH, HIDDEN)

    def biased(self, name: str, *shape: int) -> None:
        self.weight(f"{name}.weight", *shape)
        self.weight(f"{name}.bias", shape[0])

    def layer_norm(self, name: str) -> None:
        self.ones(f"{name}.weight", WIDTH)
        self.weight(f"{name}.bias", WIDTH)

    def heads(self, per_layer: list[int] | int = HEADS) -> None:
        self.raw.add_head_count(HEADS)
        self.raw.add_head_count_kv(per_layer)
        self.raw.add_rope_dimension_count(HEAD)

    def state_space(self, block: str, *, norms: bool) -> None:
        self.weight(f"{block}.ssm_in.weight", 2 * INNER, WIDTH)
        self.weight(f"{block}.ssm_conv1d.weight", INNER, CONVOLUTION)
        self.raw.add_tensor(f"{block}.ssm_conv1d.bias", np.zeros(INNER, dtype=np.float32))
        self.weight(f"{block}.ssm_x.weight", STEP_RANK + 2 * STATE, INNER)
        self.weight(f"{block}.ssm_dt.weight", INNER, STEP_RANK)
        self.raw.add_tensor(f"{block}.ssm_dt.bias", np.full(INNER, -2.0, dtype=np.float32))
        decay = -np.tile(np.arange(1, STATE + 1, dtype=np.float32), (INNER, 1))
        self.raw.add_tensor(f"{block}.ssm_a", decay)
        self.ones(f"{block}.ssm_d", INNER)
        self.weight(f"{block}.ssm_out.weight", WIDTH, INNER)
        if norms:
            self.ones(f"{block}.ssm_dt_norm.weight", STEP_RANK)
            self.ones(f"{block}.ssm_b_norm.weight", STATE)
            self.ones(f"{block}.ssm_c_norm.weight", STATE)

    def state_space_sizes(self) -> None:
        self.raw.add_ssm_conv_kernel(CONVOLUTION)
        self.raw.add_ssm_inner_size(INNER)
        self.raw.add_ssm_state_size(STATE)
        self.raw.add_ssm_time_step_rank(STEP_RANK)

    def byte_level_tokens(self, special: Sequence[str] = ()) -> int:
        """An end token, the 256 bytes, a few merges, further special tokens; how many there are."""
        plain = [*_spelling(), *("".join(pair.split()) for pair in MERGES)]
        tokens = ["<|end|>", *plain, *special]
        self.raw.add_tokenizer_model("gpt2")
        self.raw.add_tokenizer_pre("gpt-2")
        self.raw.add_token_list(tokens)
        self.raw.add_token_types([3] + [1] * len(plain) + [3] * len(special))
        self.raw.add_token_merges(MERGES)
        self.raw.add_bos_token_id(0)
        self.raw.add_eos_token_id(0)
        self.raw.add_add_bos_token(True)
        return len(tokens)

    def sentence_pieces(self, *, blank: bool = True) -> int:
        """A SentencePiece vocabulary with byte fallback; its size.

        With `blank` a blank is put before a text, as for Llama 2; without as for Gemma.
        """
        words = ["▁", "a", "b", "c", "t", "h", "e", "▁t", "he", "▁the", "▁c", "at", "▁cat", "."]
        tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
        kinds = [2, 3, 3] + [6] * 256 + [1] * len(words)
        self.raw.add_tokenizer_model("llama")
        self.raw.add_token_list(tokens)
        self.raw.add_token_scores([0.0] * 259 + [-float(n) for n in range(len(words), 0, -1)])
        self.raw.add_token_types(kinds)
        self.raw.add_bos_token_id(1)
        self.raw.add_eos_token_id(2)
        self.raw.add_add_bos_token(True)
        self.raw.add_add_space_prefix(blank)
        return len(tokens)

    def close(self, vocabulary: int, scale: float = 3.0, *, output: bool = True) -> Path:
        """`scale` sets how peaked the distributions are; without `output` there are none."""
        self.raw.add_vocab_size(vocabulary)
        self.weight("token_embd.weight", vocabulary, WIDTH, scale=scale)
        if output:
            self.ones("output_norm.weight", WIDTH)
        self.raw.write_header_to_file()
        self.raw.write_kv_data_to_file()
        self.raw.write_tensors_to_file()
        self.raw.close()
        return self.path


def tiny_llama(
    path: Path,
    *,
    context: int = 512,
    seed: int = 0,
    pieces: bool = False,
    blank: bool = True,
    special: Sequence[str] = (),
    template: str = "",
    scale: float = 3.0,
    pooling: int | None = None,
) -> Path:
    """Full attention; with `pieces`, a SentencePiece vocabulary, which puts a `blank` before a text
    or does not; with names of further `special` tokens and a chat `template`, one for chats. A
    `scale` of NaN gives logits that are none. `pooling` as for `tiny_encoder`."""
    writer = _Writer(path, "llama", context, seed)
    if template:
        writer.raw.add_chat_template(template)
    if pooling is not None:
        writer.raw.add_uint32("llama.pooling_type", pooling)
    writer.heads()
    writer.raw.add_rope_freq_base(10000.0)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        writer.ones(f"{block}.attn_norm.weight", WIDTH)
        writer.attention(block)
        writer.feed_forward(block)
    size = writer.sentence_pieces(blank=blank) if pieces else writer.byte_level_tokens(special)
    return writer.close(size, scale)


def tiny_sliding(path: Path, *, context: int = 512, seed: int = 0) -> Path:
    """Every other layer sees the last 16 tokens only (Gemma 2's shape)."""
    writer = _Writer(path, "gemma2", context, seed)
    writer.heads()
    writer.raw.add_key_length(HEAD)
    writer.raw.add_value_length(HEAD)
    writer.raw.add_sliding_window(16)
    writer.raw.add_attn_logit_softcapping(50.0)
    writer.raw.add_final_logit_softcapping(30.0)
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        for norm in ("attn_norm", "post_attention_norm", "post_ffw_norm"):
            writer.ones(f"{block}.{norm}.weight", WIDTH)
        writer.attention(block)
        writer.feed_forward(block)
    return writer.close(writer.byte_level_tokens(), scale=0.5)


def tiny_recurrent(path: Path, *, context: int = 512, seed: int = 0) -> Path:
    """A Mamba: its state cannot be taken back by a token."""
    writer = _Writer(path, "mamba", context, seed)
    writer.state_space_sizes()
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        writer.ones(f"{block}.attn_norm.weight", WIDTH)
        writer.state_space(block, norms=False)
    return writer.close(writer.byte_level_tokens(), scale=1.0)


def tiny_hybrid(path: Path, *, context: int = 512, seed: int = 0) -> Path:
    """One recurrent layer, one with attention (Jamba's shape)."""
    writer = _Writer(path, "jamba", context, seed)
    writer.heads([0, HEADS])
    writer.state_space_sizes()
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        writer.ones(f"{block}.attn_norm.weight", WIDTH)
        if layer:
            writer.attention(block)
        else:
            writer.state_space(block, norms=True)
        writer.feed_forward(block)
    return writer.close(writer.byte_level_tokens())


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁the", "▁cat", "▁sat", "▁on", "▁a", "▁mat", "s", "."]


def tiny_encoder(path: Path, *, context: int = 64, pooling: int | None = None) -> Path:
    """A BERT, which predicts no text. `pooling`: llama.cpp's number of the way in which its file
    wants rows put together."""
    writer = _Writer(path, "bert", context, 0)
    writer.raw.add_head_count(HEADS)
    writer.raw.add_layer_norm_eps(1e-12)
    writer.raw.add_causal_attention(False)
    if pooling is not None:
        writer.raw.add_uint32("bert.pooling_type", pooling)
    writer.raw.add_tokenizer_model("bert")
    writer.raw.add_tokenizer_pre("default")
    writer.raw.add_token_list(WORDS)
    writer.raw.add_token_types([3, 3, 3, 3] + [1] * (len(WORDS) - 4))
    writer.raw.add_token_type_count(2)
    for name, id in (("padding", 0), ("unknown", 1), ("bos", 2), ("eos", 3), ("seperator", 3)):
        writer.raw.add_uint32(f"tokenizer.ggml.{name}_token_id", id)
    for name, size in (("position_embd", context), ("token_types", 2)):
        writer.weight(f"{name}.weight", size, WIDTH)
    writer.layer_norm("token_embd_norm")
    for layer in range(LAYERS):
        block = f"blk.{layer}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.biased(f"{block}.{name}", WIDTH, WIDTH)
        writer.layer_norm(f"{block}.attn_output_norm")
        writer.biased(f"{block}.ffn_up", HIDDEN, WIDTH)
        writer.biased(f"{block}.ffn_down", WIDTH, HIDDEN)
        writer.layer_norm(f"{block}.layer_output_norm")
    return writer.close(len(WORDS), output=False)


ARCHITECTURES: dict[str, Callable[..., Path]] = {
    "full": tiny_llama,
    "sliding": tiny_sliding,
    "recurrent": tiny_recurrent,
    "hybrid": tiny_hybrid,
}
