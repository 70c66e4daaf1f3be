"""Where the length-scales of `ml_service.gaussian_process` come from, and whether they were learnt by heart.

    .venv/bin/python benchmarks/wine_kernel.py       (about six minutes on two cores)

They and the variances maximise the log marginal likelihood under normal noise (Rasmussen and Williams 2006, equation
2.30) by Adam, each step on other wines drawn at random. First they are learnt from each half of the wines alone: what
the wines of the other half are then predicted to be, in the same folds, says what learning them is worth on wines that
had no part in it. Then they are learnt from all wines and printed, to be compared with what the module holds.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.wine import FOLDS, bar, say, wines
from ml_service import cross_validation, gaussian_process
from ml_service.dataset import Dataset, Floats, as_frame
from ml_service.gaussian_process import GaussianProcess

STEPS, DRAWN, SEED = 180, 1_500, 7
Learnt = dict[str, tuple[float, ...] | float]


def learn(inputs: Floats, quality: Floats, told: str) -> Learnt:
    """The constants of the module, learnt from these wines; inputs have the columns of `INPUT_COLUMNS`."""
    seen = gaussian_process.logarithms(inputs, np.array(gaussian_process.LOGARITHMS))
    x = torch.tensor((seen - seen.mean(axis=0)) / seen.std(axis=0))
    y = torch.tensor((quality - quality.mean()) / quality.std())
    scales = torch.full((2, inputs.shape[1]), np.log(4.0), dtype=torch.float64, requires_grad=True)
    variances = torch.tensor(np.log([0.3, 0.3, 0.4]), requires_grad=True)
    steps = torch.optim.Adam([scales, variances], lr=0.05)
    slower = torch.optim.lr_scheduler.MultiStepLR(steps, [int(0.7 * STEPS)], 0.3)
    draws, started = torch.Generator().manual_seed(SEED), time.monotonic()
    for step in range(STEPS):
        drawn = torch.randperm(len(y), generator=draws)[:DRAWN]
        loss = _negative_log_likelihood(x[drawn], y[drawn], scales.exp(), variances.exp())
        steps.zero_grad()
        loss.backward()
        steps.step()
        slower.step()
        if step % 20 == 0:
            say(f"{told}: step {step} of {STEPS}, {time.monotonic() - started:.0f} s, loss {loss.item():.4f}")
    smooth, rough = scales.exp().detach().numpy().round(2).tolist()
    found = variances.exp().detach().numpy().round(3).tolist()
    say(f"{told}: variance of the noise, if it is normal: {found.pop()}")
    variances_by_name = dict(zip(("SMOOTH_VARIANCE", "ROUGH_VARIANCE"), found, strict=True))
    return {"SMOOTH_SCALES": tuple(smooth), "ROUGH_SCALES": tuple(rough), **variances_by_name}


def _negative_log_likelihood(
    x: torch.Tensor, y: torch.Tensor, scales: torch.Tensor, variances: torch.Tensor
) -> torch.Tensor:
    """Per wine, without its constant."""
    near = x / scales[0]
    squares = (near**2).sum(1)
    smooth = torch.exp(-0.5 * (squares[:, None] + squares - 2 * near @ near.T).clamp(min=0))
    rough = torch.exp(-sum((one[:, None] - one).abs() for one in (x / scales[1]).T))
    covariance = variances[0] * smooth + variances[1] * rough + variances[2] * torch.eye(len(y), dtype=x.dtype)
    factor = torch.linalg.cholesky(covariance)
    solved = torch.cholesky_solve(y[:, None], factor)[:, 0]
    return (0.5 * y @ solved + factor.diagonal().log().sum()) / len(y)


def out_of_fold(data: Dataset, constants: Learnt) -> Floats:
    """Predictions by processes with these constants, each of wines that it was not fitted to."""
    kept = {name: getattr(gaussian_process, name) for name in constants}
    found = np.empty(len(data.quality))
    try:
        for name, value in constants.items():
            setattr(gaussian_process, name, value)
        for others, fold in cross_validation.folds(data, np.arange(len(found)), FOLDS, SEED):
            process = GaussianProcess().fit(as_frame(data.inputs[others]), data.quality[others])
            found[fold] = process.predict(as_frame(data.inputs[fold]))
    finally:
        for name, value in kept.items():
            setattr(gaussian_process, name, value)
    return found


def rmse(data: Dataset, predicted: Floats) -> float:
    return float(np.sqrt(np.mean((predicted - data.quality) ** 2)))


def main() -> None:
    data = wines()
    half = np.random.default_rng(SEED).permutation(len(data.quality)) % 2 == 0
    nested = np.empty(len(data.quality))
    for side, name in ((half, "one half"), (~half, "the other")):
        learnt = learn(data.inputs[side], data.quality[side], name)
        nested[~side] = out_of_fold(data, learnt)[~side]
        say(f"{name}: {learnt}")
    everything = learn(data.inputs, data.quality, "all wines")
    say(f"all wines: {everything}")
    set_here = {name: getattr(gaussian_process, name) for name in everything}
    found = {"set": rmse(data, out_of_fold(data, set_here)), "nested": rmse(data, nested)}
    # A hundredth of what the process gains over predicting the mean.
    bars = {"rmse_nested_over_set": bar(found["nested"] - found["set"], 0.002)}
    print(json.dumps({"bars": bars, "rmse": found, "learnt_from_all": everything}))


if __name__ == "__main__":
    main()
