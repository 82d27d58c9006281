"""GGUF models in process, through llama.cpp."""

from llterm.backends.llamacpp.gguf_header import ModelInfo, inspect_gguf
from llterm.backends.llamacpp.llama_backend import LlamaBackend, open_llama
from llterm.backends.llamacpp.loader import LlamaSettings

__all__ = ["LlamaBackend", "LlamaSettings", "ModelInfo", "inspect_gguf", "open_llama"]
