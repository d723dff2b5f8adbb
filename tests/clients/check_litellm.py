"""Load an exported configuration with litellm's own proxy; print what it routes to, and what one model answers."""

import asyncio
import json
import sys

from litellm.proxy.proxy_server import ProxyConfig


async def main() -> None:
    """Load, and ask the first model if a question is given."""
    router, models, _ = await ProxyConfig().load_config(router=None, config_file_path=sys.argv[1])
    found = {"models": [[model["model_name"], model["litellm_params"]["api_base"]] for model in models]}
    if len(sys.argv) > 2:
        question = [{"role": "user", "content": sys.argv[2]}]
        answer = await router.acompletion(model=models[0]["model_name"], messages=question, max_tokens=24)
        found["answer"] = answer.choices[0].message.content
    print("RESULT " + json.dumps(found))


asyncio.run(main())
