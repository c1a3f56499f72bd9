"""What `rs.watch` costs: epochs of training with and without it, in turn.

`python -m benchmarks.watched 15` (a minute) trains the model of docs/howto/train.md on 2,000 images of MNIST. A pair of
epochs is one without and one with a recording of 100 images, compared with the start, the recording before and a
reference model. It prints the seconds of the processor for both, and their ratio pair by pair.
"""

import sys
import time

import numpy as np
import torch
from torch.nn import functional as F

import repsim_nb as rs


def main(pairs: int) -> None:
    """Train in pairs of epochs, and print seconds and ratios."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train, probe = rs.load_dataset("mnist", split="train", n=2000), rs.load_dataset("mnist", n=100)
    model = rs.load_model(rs.models.build("cnn"), preprocess=rs.load_model("zoo:mnist-cnn-0").preprocess)
    inputs, targets = model.preprocess(train.inputs), torch.tensor(train.targets)
    optimizer = torch.optim.Adam(model.module.parameters(), 1e-3)

    def epoch() -> None:
        for rows in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model.module(inputs[rows]), targets[rows]).backward()
            optimizer.step()

    model.module.train()
    seconds = np.zeros((pairs, 2))
    with rs.watch(model, probe, reference="zoo:mnist-cnn-0", live=False) as watch:
        epoch()
        watch.step()  # the first epoch and recording are slower
        for pair in range(pairs):
            for turn in (0, 1) if pair % 2 else (1, 0):
                began = time.process_time()
                epoch()
                if turn:
                    watch.step()
                seconds[pair, turn] = time.process_time() - began
    ratios = seconds[:, 1] / seconds[:, 0]
    layers = len(watch.result.to_frame("start").columns)
    print(f"{len(inputs)} images an epoch, {len(probe)} images watched, {layers} layers")
    for name, values in (("without", seconds[:, 0]), ("with", seconds[:, 1]), ("with / without", ratios)):
        print(f"{name:15} min {values.min():.3f}  median {np.median(values):.3f}  max {values.max():.3f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
