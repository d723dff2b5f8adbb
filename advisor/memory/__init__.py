"""What a deployment holds in memory: weights, caches, compute buffers, engine overhead."""
