"""GGUF models in process, through llama.cpp."""

from llterm.backends.llamacpp.backend import LlamaBackend, open_llama
from llterm.backends.llamacpp.info import ModelInfo, inspect_gguf
from llterm.backends.llamacpp.settings import LlamaSettings

__all__ = ["LlamaBackend", "LlamaSettings", "ModelInfo", "inspect_gguf", "open_llama"]
