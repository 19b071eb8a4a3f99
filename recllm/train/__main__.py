"""`accelerate launch -m recllm.train RECIPE`: what it does is in recllm.cli.worker."""

from recllm.cli.worker import train_main

if __name__ == "__main__":
    train_main()
