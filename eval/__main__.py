"""`accelerate launch -m recllm.eval RECIPE`: what it does is in recllm.cli.worker."""

from recllm.cli.worker import evaluate_main

if __name__ == "__main__":
    evaluate_main()
