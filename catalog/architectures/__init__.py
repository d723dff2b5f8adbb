"""How llama.cpp names and shapes the weight tensors of each model architecture."""
