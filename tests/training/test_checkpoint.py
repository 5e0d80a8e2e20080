"""Checkpoints that cannot be trusted are set aside, and none of them runs code."""

import pickle
import resource
import zipfile
from pathlib import Path

import pytest
import torch

from gbnlib.errors import Interrupted, UsageError
from gbnlib.experiments import RunConfig
from gbnlib.experiments.preparing import prepare
from gbnlib.regimes import Phase
from gbnlib.training import Execution, Listener, Training, load_checkpoint, misfit, save_checkpoint, train
from tests.limits import limited

CONFIG = RunConfig(
    network="f1", dataset="synthetic", train_size=128, batch_size=64, epochs=2, regime=(Phase(epoch=0, lr=0.1),)
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, prepare(CONFIG, Execution(device="cpu")), execution={"threads": 1})
    return path


def test_a_checkpoint_comes_back_as_it_was(checkpoint: Path) -> None:
    training = prepare(CONFIG, Execution(device="cpu"))
    state = load_checkpoint(checkpoint)
    assert state["extra"] == {"execution": {"threads": 1}}
    for name, tensor in training.model.state_dict().items():
        assert torch.equal(state["model"][name], tensor)


def test_no_checkpoint_is_no_state(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "checkpoint.pt") is None


def test_a_checkpoint_that_cannot_be_opened_now_is_kept(checkpoint: Path) -> None:
    with limited(resource.RLIMIT_NOFILE, 3), pytest.raises(OSError, match="Too many open files"):
        load_checkpoint(checkpoint)
    assert load_checkpoint(checkpoint) is not None


def test_a_checkpoint_that_does_not_fit_is_one_line_and_the_last_one_is_kept(checkpoint: Path) -> None:
    before, training = checkpoint.read_bytes(), prepare(CONFIG, Execution(device="cpu"))
    with (
        limited(resource.RLIMIT_FSIZE, 100_000),
        pytest.raises(UsageError, match=r"^cannot write .*checkpoint.pt: .+$"),
    ):
        save_checkpoint(checkpoint, training)
    assert checkpoint.read_bytes() == before and list(checkpoint.parent.iterdir()) == [checkpoint]


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def wrong_position(path: Path) -> None:
    """The last 98 bytes of the file say where its directory begins, 48 bytes into them."""
    content = bytearray(path.read_bytes())
    content[-50:-44] = b"\xff" * 6
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


class Evil:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        return (open, ("/tmp/gbnlib-evil", "w"))


def plain_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Evil()))


def pickle_in_zip(path: Path) -> None:
    torch.save({"torch": "2", "model": Evil()}, path)


def other_keys(path: Path) -> None:
    torch.save({"weights": torch.zeros(1)}, path)


def not_a_dictionary(path: Path) -> None:
    torch.save(torch.zeros(3), path)


def older_torch(path: Path) -> None:
    state = torch.load(path, weights_only=True)
    torch.save({**state, "torch": "1.0"}, path)


DAMAGES = [
    flip_a_bit,
    truncate,
    wrong_position,
    empty,
    plain_pickle,
    pickle_in_zip,
    other_keys,
    not_a_dictionary,
    older_torch,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_that_cannot_be_trusted_is_set_aside_and_said(checkpoint: Path, damage, capsys) -> None:
    Path("/tmp/gbnlib-evil").unlink(missing_ok=True)
    damage(checkpoint)
    assert load_checkpoint(checkpoint) is None
    assert not checkpoint.exists()
    assert checkpoint.with_name("checkpoint.pt.corrupt").exists()
    assert "set aside as checkpoint.pt.corrupt" in capsys.readouterr().err
    assert not Path("/tmp/gbnlib-evil").exists()


def test_every_byte_of_a_checkpoint_is_covered_by_a_checksum(checkpoint: Path) -> None:
    with zipfile.ZipFile(checkpoint) as archive:
        assert all(entry.CRC for entry in archive.infolist() if entry.file_size)


def trained(tmp_path: Path) -> tuple[Path, Training]:
    """A checkpoint of a run in the middle, and the training that it is of."""
    training = prepare(CONFIG, Execution(device="cpu"))
    path = tmp_path / "checkpoint.pt"

    class Saving(Listener):
        def save(self) -> None:
            save_checkpoint(path, training, run=CONFIG.id, execution=FULL)

    training.stop = True
    with pytest.raises(Interrupted):
        train(training, Saving())
    return path, prepare(CONFIG, Execution(device="cpu"))


FULL = {"device": "cpu", "threads": 1, "micro_batch": 0, "compile": False}


def test_a_checkpoint_fits_the_training_it_is_of(tmp_path: Path) -> None:
    path, training = trained(tmp_path)
    assert misfit(load_checkpoint(path, CONFIG.id), training) is None


@pytest.mark.parametrize("extra", [{}, {"run": "f1-other"}, {"run": CONFIG.id, "execution": {**FULL, "threads": 0}}])
def test_a_checkpoint_of_another_run_is_set_aside(tmp_path: Path, extra: dict, capsys) -> None:
    path, training = trained(tmp_path)
    save_checkpoint(path, training, **{"execution": FULL, **extra})
    assert load_checkpoint(path, CONFIG.id) is None
    assert "set aside as checkpoint.pt.corrupt" in capsys.readouterr().err


def without(key: str):
    return lambda state: state.pop(key)


STRANGE = {
    **{f"no {key}": without(key) for key in ("history", "distances", "sums", "seconds", "status", "optimizer")},
    "update -5": lambda state: state.update(update=-5),
    "update 10**9": lambda state: state.update(update=10**9),
    "one update more": lambda state: state.update(update=state["update"] + 1),
    "finished": lambda state: state.update(status="finished"),
    "a look": lambda state: state["history"].append([1, 1, 0.1, 1.0, 1.0, 1.0, 1.0]),
    "a distance less": lambda state: state["distances"].pop(),
    "a column less": lambda state: state["distances"][0].pop(),
    "words": lambda state: state.update(distances=[["foo"]]),
    "sums": lambda state: state.update(sums=torch.zeros(2)),
    "a weight less": lambda state: state["model"].popitem(),
    "weights": lambda state: state["model"].update({name: torch.zeros(1) for name in state["model"]}),
    "buffers": lambda state: state["optimizer"]["state"].update({0: {"momentum_buffer": torch.zeros(1)}}),
    "a buffer more": lambda state: state["optimizer"]["state"].update({99: {"momentum_buffer": None}}),
    "nesterov": lambda state: state["optimizer"]["param_groups"][0].update(nesterov=True),
    "no groups": lambda state: state["optimizer"].update(param_groups=[]),
}


@pytest.mark.parametrize("change", STRANGE)
def test_a_state_that_cannot_be_of_the_training_is_refused(tmp_path: Path, change: str) -> None:
    path, training = trained(tmp_path)
    state = torch.load(path, weights_only=True)
    STRANGE[change](state)
    torch.save(state, path)
    state = load_checkpoint(path, CONFIG.id)
    assert state is None or misfit(state, training) is not None
