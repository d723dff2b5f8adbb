"""Write a small safetensors model that has learnt one sentence, for servers to serve: FOLDER is the only argument.

Runs in an environment with torch, transformers and tokenizers. Its speed means nothing and its answers are whole
sentences, so everything behind a server can be tested without downloading weights.
"""

import random
import sys

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SENTENCE = " Paris is the capital of France, and the river Seine flows through it."
WORDS = "apple river stone cloud green seven light house quiet table winter paper garden silver music road"
STEPS, BATCH, LENGTH = 80, 4, 80


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of a few hundred tokens, with a chat template that adds nothing."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=["<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    backend.train_from_iterator([f"{WORDS}{SENTENCE} Write a long story with all of these words."] * 10, trainer)
    wrapped = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    wrapped.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return wrapped


def batch(words: list[str], encode: PreTrainedTokenizerFast) -> torch.Tensor:
    """Prompts of random words, each followed by the sentence over and over."""
    rows = []
    for _ in range(BATCH):
        prompt = " ".join(random.choices(words, k=random.randrange(1, 8)))
        rows.append(encode(prompt + SENTENCE * 8)["input_ids"][:LENGTH])
    return torch.tensor(rows)


def main() -> None:
    """Train for a few seconds and save."""
    folder = sys.argv[1]
    random.seed(0)
    torch.manual_seed(0)
    encode = tokenizer()
    config = LlamaConfig(
        vocab_size=len(encode),
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        max_position_embeddings=2048,
        bos_token_id=0,
        eos_token_id=1,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(STEPS):
        rows = batch(WORDS.split(), encode)
        loss = model(input_ids=rows, labels=rows).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    encode.save_pretrained(folder)
    model.to(torch.bfloat16).save_pretrained(folder)
    print(f"loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
