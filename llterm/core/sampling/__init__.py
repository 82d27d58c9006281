"""The sampler chain, stage by stage, as llama.cpp runs it; pure, and open to inspection."""
