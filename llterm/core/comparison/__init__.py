"""Models compared with a reference at every place of a text: llama-perplexity's figures. Pure."""
