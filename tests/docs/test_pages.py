"""The pages for practitioners: their Python runs against the real libraries, block after block, as they say."""

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from gbnlib.nn.layers import GhostBatchNorm
from gbnlib.regimes import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}


def blocks(page):
    """The Python of a page, in order."""
    return re.findall(r"^```python\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)


def imported(code):
    """Top-level names of the modules that some code imports."""
    nodes = list(ast.walk(ast.parse(code)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in names}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Execute a page in a folder of its own and return its names; skip it where a library is missing."""

    def run_page(page):
        code = blocks(page)
        missing = [name for name in sorted(imported("\n".join(code))) if importlib.util.find_spec(name) is None]
        if missing:
            pytest.skip(f"docs/{page}.md needs {', '.join(missing)}: pip install 'gbnlib[integrations]'")
        monkeypatch.chdir(tmp_path)
        torch.manual_seed(0)
        names = {"__name__": page}
        for block in code:
            exec(compile(block, f"docs/{page}.md", "exec"), names)
        return names

    return run_page


def ghosts(model):
    """The ghost sizes in a model."""
    return {layer.ghost_size for layer in model.modules() if isinstance(layer, GhostBatchNorm)}


def settings(optimizer):
    """What all groups of an optimizer are set to."""
    (found,) = {Settings(group["lr"], group["momentum"], group["weight_decay"]) for group in optimizer.param_groups}
    return found


def test_plain_pytorch(run):
    page = run("pytorch")
    plan = page["plan"]
    # Four times the batch: 16 epochs of 3 updates, and one more by accumulation.
    assert plan.regime.epochs == 16 and page["scheduler"].last_epoch == plan.updates + 1 == 49
    assert ghosts(page["model"]) == {32}
    assert settings(page["optimizer"]) == plan.regime.at(48, 3)


def test_accumulated_gradients_are_those_of_the_whole_batch(run):
    page = run("pytorch")
    model, images, labels = page["model"].double(), page["images"].double(), page["labels"]
    gradients = []
    for size in (len(images), 64):
        model.zero_grad()
        for part, truth in zip(images.split(size), labels.split(size), strict=True):
            (nn.functional.cross_entropy(model(part), truth) * len(part) / len(images)).backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    torch.testing.assert_close(*gradients)


@pytest.mark.filterwarnings("ignore")
def test_lightning(run):
    page = run("lightning")
    plan, trainer = page["plan"], page["trainer"]
    # Half of the six further epochs of 2 · 4: 5 epochs of 3 updates.
    assert trainer.global_step == plan.updates == 15
    assert ghosts(page["module"]) == {32}
    (optimizer,) = trainer.optimizers
    assert settings(optimizer) == plan.regime.at(14, 3)


@pytest.mark.filterwarnings("ignore")
def test_lightning_sets_every_update(run, monkeypatch):
    page = run("lightning")
    seen = []
    callback = type("Seen", (page["L"].Callback,), {})()
    callback.on_before_optimizer_step = lambda trainer, module, optimizer: seen.append(settings(optimizer))
    plan = page["plan"]
    trainer = page["L"].Trainer(
        max_epochs=plan.regime.epochs,
        callbacks=[page["LargeBatch"](plan), callback],
        accumulate_grad_batches=2,
        accelerator="cpu",
        devices=1,
        **page["quiet"],
    )
    trainer.fit(page["Classifier"](), DataLoader(page["data"], batch_size=64))
    assert seen == [plan.regime.at(update, 3) for update in range(plan.updates)]


@pytest.mark.filterwarnings("ignore")
def test_hugging_face(run):
    page = run("transformers")
    plan = page["plan"]
    assert page["trainer"].state.global_step == page["scheduler"].last_epoch == plan.updates == 12
    for model, optimizer in ((page["trainer"].model, page["trainer"].optimizer), (page["model"], page["optimizer"])):
        assert ghosts(model) == {16}
        assert settings(optimizer) == plan.regime.at(12, 3)


def test_timm(run, capsys):
    page = run("timm")
    plan, regime = page["plan"], page["regime"]
    assert "BatchNormAct2d at 'bn1'" in capsys.readouterr().out
    assert {group["weight_decay"] for group in page["optimizer"].param_groups} == {0.0, 1e-4}
    assert {group["lr"] for group in page["optimizer"].param_groups} == {regime.at(1, 10).lr}
    assert ghosts(page["timm"].create_model("resnet10t_ghost", num_classes=3)) == {16}
    rates = []
    for update in range(plan.updates):
        page["timm_scheduler"].step_update(update)
        rates.append(page["theirs"].param_groups[0]["lr"])
    ours = [regime.at(update, 10).lr for update in range(plan.updates)]
    assert rates[1:10] == pytest.approx(ours[:9]) and rates[10:19] == pytest.approx(ours[10:19])
    assert rates[19:-1] == pytest.approx(ours[20:]) and page["epochs"] == regime.epochs
    (shell,) = re.findall(r"```sh\n(.*?)```", PAGES["timm"], re.DOTALL)
    given = {name: values.split() for name, values in re.findall(r"--([\w-]+)((?: [\w.]+)*)", shell)}
    assert (given["batch-size"], given["lr"], given["epochs"]) == (["64"], [f"{regime.phases[0].lr}"], ["6"])
    assert (given["decay-milestones"], given["warmup-epochs"]) == (["2", "4"], ["1"])


@pytest.mark.filterwarnings("ignore")
def test_compile_export_and_onnx(run):
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("torch.compile needs a C++ compiler on the CPU")
    torch.compiler.reset()
    page = run("export")  # compares the exported forms itself
    assert ghosts(page["model"]) == {8} and not ghosts(page["plain"])
    nodes = {node.op_type for node in importlib.import_module("onnx").load("model.onnx").graph.node}
    assert nodes <= {"BatchNormalization", "Conv", "Flatten", "Gemm", "Relu", "Reshape", "Shape", "Concat"}


def one_process(code):
    """Train what the page trains in one process, with the shares of two put together; return its parameters."""
    alone = code.partition("share, rest = ")[0].replace('dist.init_process_group("gloo")', "")
    names = {}
    exec(alone, names)
    plan, data = names["plan"], names["data"]
    model = names["convert_ghost_batchnorm"](names["model"], plan.ghost_size)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = plan.regime.scheduler(optimizer, updates_per_epoch=plan.updates_per_epoch)
    samplers = [DistributedSampler(data, num_replicas=2, rank=rank, drop_last=True) for rank in range(2)]
    for epoch in range(plan.regime.epochs):
        for sampler in samplers:
            sampler.set_epoch(epoch)
        shares = [DataLoader(data, batch_size=plan.batch_size // 2, sampler=sampler) for sampler in samplers]
        for parts in zip(*shares, strict=True):
            images, labels = (torch.cat(each) for each in zip(*parts, strict=True))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            scheduler.step()
    return dict(model.named_parameters())


def test_two_processes_train_as_one(tmp_path):
    (code,) = blocks("ddp")
    (tmp_path / "train.py").write_text(code)
    (command,) = re.findall(r"```sh\n(.*?)\n```", PAGES["ddp"], re.DOTALL)
    call = [sys.executable, "-m", "torch.distributed.run", *command.split()[1:]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}"}
    subprocess.run(call, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=300)
    first, second = (torch.load(tmp_path / f"model-{rank}.pt", weights_only=True) for rank in range(2))
    for name, parameter in one_process(code).items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], parameter.detach(), rtol=1e-4, atol=1e-5)


def test_averages(run):
    page = run("averaging")
    for name, updates in (("ema", 20), ("swa", 2)):
        averaged = page[name]
        assert averaged.n_averaged == updates and ghosts(averaged) == {16}
        convolution, layer = averaged.module[:2]
        # Equal batches, so the running mean is that over all samples and pixels, which does not depend on the ghosts.
        expected = convolution(page["data"].tensors[0]).mean(dim=(0, 2, 3))
        torch.testing.assert_close(layer.running_mean, expected.detach(), rtol=1e-4, atol=1e-5)


def test_the_noise_scale(run):
    found = run("noise_scale")["found"]
    assert found.batches == 60 and found.batch_size == 32 and 0 < found.low < found.scale < found.high


def test_the_readme_links_every_page():
    linked = re.findall(r"\(docs/(\w+)\.md\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert sorted(linked) == sorted(PAGES)
    for page, text in PAGES.items():
        assert set(re.findall(r"\]\((\w+)\.md\)", text)) <= set(PAGES), page
