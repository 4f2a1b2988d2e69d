"""What whole layers tell apart: embeddings and the neighbourhood hit (paper B)."""
