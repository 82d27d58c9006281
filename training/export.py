"""Write a training checkpoint as GGUF files: f32, f16 and q8_0.

Three files come out, NAME-f32.gguf, NAME-f16.gguf and NAME-q8_0.gguf. Norm vectors stay f32 in all
of them. There is no output matrix: llama.cpp ties it to the embedding. Every file is written beside
its place and then moved there, so a reader never sees half a file.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType, LlamaFileType, TokenType

TYPES = {
    "f32": (GGMLQuantizationType.F32, LlamaFileType.ALL_F32),
    "f16": (GGMLQuantizationType.F16, LlamaFileType.MOSTLY_F16),
    "q8_0": (GGMLQuantizationType.Q8_0, LlamaFileType.MOSTLY_Q8_0),
}
TENSOR_NAMES = {
    "embedding.weight": "token_embd.weight",
    "output_norm.weight": "output_norm.weight",
    "attention_norm.weight": "attn_norm.weight",
    "attention.q.weight": "attn_q.weight",
    "attention.k.weight": "attn_k.weight",
    "attention.v.weight": "attn_v.weight",
    "attention.output.weight": "attn_output.weight",
    "feed_forward_norm.weight": "ffn_norm.weight",
    "feed_forward.gate.weight": "ffn_gate.weight",
    "feed_forward.up.weight": "ffn_up.weight",
    "feed_forward.down.weight": "ffn_down.weight",
}


def tensor_name(name: str) -> str:
    """Return the GGUF name of a tensor of the torch model."""
    if name.startswith("blocks."):
        _, index, rest = name.split(".", 2)
        return f"blk.{index}.{TENSOR_NAMES[rest]}"
    return TENSOR_NAMES[name]


def add_metadata(
    writer: gguf.GGUFWriter, config: dict[str, Any], context: int, name: str, description: str
) -> None:
    """Write the general and the architecture keys."""
    writer.add_type("model")
    writer.add_name(name)
    writer.add_author("llterm")
    writer.add_description(description)
    writer.add_license("mit")
    writer.add_languages(["en"])
    writer.add_context_length(context)
    writer.add_embedding_length(config["width"])
    writer.add_block_count(config["layers"])
    writer.add_feed_forward_length(config["feed_forward"])
    writer.add_head_count(config["heads"])
    writer.add_head_count_kv(config["kv_heads"])
    writer.add_layer_norm_rms_eps(config["norm_epsilon"])
    writer.add_rope_dimension_count(config["width"] // config["heads"])
    writer.add_rope_freq_base(config["rope_base"])
    writer.add_vocab_size(config["vocab"])


def add_tokenizer(writer: gguf.GGUFWriter, tokenizer_file: Path) -> None:
    """Write the vocabulary, the merges and the special token."""
    model = json.loads(tokenizer_file.read_text(encoding="utf-8"))["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    writer.add_tokenizer_model("gpt2")
    # Not "default": that one loads too, but splits contractions differently.
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL] + [TokenType.NORMAL] * (len(tokens) - 1))
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_add_bos_token(True)


def write_gguf(
    path: Path,
    kind: str,
    checkpoint: dict[str, Any],
    weights: dict[str, torch.Tensor],
    tokenizer_file: Path,
    context: int,
    name: str,
    description: str,
) -> None:
    """Write one GGUF file of the given kind (a key of TYPES)."""
    tensor_type, file_type = TYPES[kind]
    temporary = path.with_name(path.name + ".tmp")
    writer = gguf.GGUFWriter(str(temporary), "llama")
    add_metadata(writer, checkpoint["config"], context, name, description)
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_tokenizer(writer, tokenizer_file)
    for torch_name, tensor in weights.items():
        values = tensor.float().cpu().numpy()
        own_type = tensor_type if values.ndim == 2 else GGMLQuantizationType.F32
        data: np.ndarray = gguf.quants.quantize(values, own_type)
        writer.add_tensor(tensor_name(torch_name), data, raw_dtype=own_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(temporary, path)


def main() -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="checkpoint.pt from train.py")
    parser.add_argument("out", type=Path, help="folder for the GGUF files")
    parser.add_argument("--tokenizer", type=Path, required=True, help="file from tokenizer.py")
    parser.add_argument("--name", default="fable", help="name of the model and of the files")
    parser.add_argument(
        "--description",
        default="Small story model bundled with llterm, trained from scratch on public-domain "
        "children's stories and fairy tales in English",
    )
    parser.add_argument("--context", type=int, default=2048, help="context length to declare")
    parser.add_argument("--types", nargs="+", choices=list(TYPES), default=list(TYPES))
    parser.add_argument(
        "--weights",
        choices=["best", "model", "ema"],
        default="best",
        help="which weights; best is what train.py found at the end of its run",
    )
    args = parser.parse_args()

    checkpoint = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
    chosen = checkpoint["best"] if args.weights == "best" else args.weights
    args.out.mkdir(parents=True, exist_ok=True)
    for kind in args.types:
        path = args.out / f"{args.name}-{kind}.gguf"
        write_gguf(
            path,
            kind,
            checkpoint,
            checkpoint[chosen],
            args.tokenizer,
            args.context,
            args.name,
            args.description,
        )
        print(f"{path}: {path.stat().st_size:,} bytes ({chosen}, step {checkpoint['step']:,})")


if __name__ == "__main__":
    main()
