"""What only a GPU shows, skipped without one; and the prepared command, run on the CPU."""

import json

import pytest
import torch

from modules.model.elmrec import ELMRec
from tests.conftest import SHARED, gpu, needs_gpu, process, script
from tests.model.test_elmrec import batch_of


@gpu
@needs_gpu
@pytest.mark.parametrize("task_number", [0, 1, 2])
def test_loss_and_gradients_equal_the_cpus(task_number, model: ELMRec, pieces) -> None:
    from modules.tasks import Task

    batch = batch_of(Task(task_number), pieces)
    loss = model(batch)
    loss.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    device = torch.device("cuda")
    model.to(device)
    on_gpu = model(batch.to(device))
    on_gpu.backward()
    torch.testing.assert_close(on_gpu.cpu(), loss, rtol=1e-4, atol=1e-5)
    for name, parameter in model.named_parameters():
        if name in expected:
            torch.testing.assert_close(
                parameter.grad.cpu(), expected[name], rtol=1e-2, atol=1e-4, msg=name
            )


@gpu
@needs_gpu
def test_the_demo_trains_and_ranks_on_a_gpu(tmp_path) -> None:
    common = ["data/demo", "--cuda", "--checkpoint", tmp_path]
    train = ["--preset", "readme", "--backbone", "tiny", "--negative_num", "9", "--max_steps", "20"]
    for name, more in (("pretrain.py", train), ("seq_reranker.py", []), ("topn.py", [])):
        done = script(name, *common, *more)
        assert done.returncode == 0, done.stderr[-2000:]


@gpu
@needs_gpu  # without one, an import that asks for it fails at once
def test_importing_touches_no_cuda() -> None:
    files = "pretrain, seq_reranker, topn, exp, modules.training.trainer, benchmarks.gpu"
    done = process("-c", f"import torch, {files}; assert not torch.cuda.is_initialized()")
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.slow
def test_the_prepared_command_runs_on_the_cpu(shared, tmp_path) -> None:
    out = tmp_path / "gpu.json"
    flags = ["--matrix", "256", "--users", "8", "--checked_users", "4", "--batch_sizes", "4"]
    flags += ["--published_users", "4", "--train_steps", "4", "--turns", "2"]
    flags += ["--backbone", "tiny", "--data_dir", SHARED / "data" / "beauty"]
    done = script("-m", "benchmarks.gpu", "--cpu", *flags, "--out", out)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(out.read_text())
    for check in found["checks"].values():
        assert check["same_but_ties"] == check["users"] == 4
    tasks, paths = ("explanation", "sequential", "direct"), ("published", "ours")
    inference = [(row["task"], row["path"]) for row in found["inference"]]
    assert inference == [(task, path) for task in tasks for path in paths]
    training = [(row["task"], row["path"]) for row in found["training"]]
    expected = [(f"{task}, 4", path) for task in tasks for path in paths]
    assert training == [*expected, ("item tokens, 128", "ours")]
