"""What tests share: models, servers, programs and looms, and what must hold of them."""
