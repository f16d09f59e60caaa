"""What every training run does, with steps that train nothing: clock, log, checkpoints, Ctrl-C."""

import dataclasses
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image

from conftest import smooth_picture
from vqcodec.errors import InputError, ModelError
from vqcodec.train import runner
from vqcodec.train.presets import tiny
from vqcodec.train.runner import CHECKPOINT, Runner, read_checkpoint


class Counting(Runner):
    """A step adds one to a number, and takes a second of a clock that stands still otherwise."""

    stage = "codec"

    def __init__(self, config, data, out, at_step=None):
        super().__init__(config, data, out)
        self.number, self.at_step, self.measured = torch.zeros(1), at_step, []
        self.own = {"mine": torch.tensor([float(self.rank)])}

    def train_step(self):
        if self.at_step:
            self.at_step(self)
        runner.time.passed += 1.0
        self.synchronise([], [])
        self.number += 1
        return self.step

    def log_row(self, results):
        return {"first": results[0], "last": results[-1]}

    def measure(self):
        self.measured.append(self.step)
        runner.time.passed += 100.0  # of saving: not of the schedule
        return {"valid": 1.5}

    def state(self):
        return {"number": self.number}

    def process_state(self):
        return self.own

    def load_state(self, state, process_state):
        self.number, self.own = state["number"], process_state

    def export(self, folder):
        raise NotImplementedError


class Clock:
    """Stands for the module `time`."""

    passed = 0.0

    def monotonic(self):
        return self.passed


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Makes a runner in a folder of its own name, by default with a schedule of 120 steps."""
    Image.fromarray(smooth_picture(64, 64)).save(tmp_path / "a.png")
    monkeypatch.setattr(runner, "time", Clock())

    def make(name="run", minutes=2.0, **options):
        config = dataclasses.replace(tiny(), minutes=minutes, save_minutes=0.5)
        return Counting(config, [tmp_path / "a.png"], tmp_path / name, **options)

    return make


def rows_of(trainer):
    return [json.loads(line) for line in (trainer.out / "log.jsonl").read_text().splitlines()]


def test_a_run_is_as_long_as_its_schedule_without_what_saving_takes(run):
    trainer = run()
    trainer.run()

    assert trainer.step == 120
    assert trainer.elapsed == 120.0
    assert trainer.measured == [31, 62, 93, 120]
    assert trainer.progress() == 1


def test_the_log_has_means_of_steps_and_measurements_in_order(run, capsys):
    trainer = run()
    trainer.run()
    rows = rows_of(trainer)

    assert [row["step"] for row in rows] == [31, 50, 62, 93, 100, 120]
    assert rows[1] == {"step": 50, "minutes": 0.83, "first": 0, "last": 49}
    assert rows[4]["first"] == 50
    assert rows[-1] == {"step": 120, "minutes": 2.0, "valid": 1.5}
    assert capsys.readouterr().out.splitlines()[-1] == "step 120 minutes 2 valid 1.5"


def test_a_resumed_run_goes_on_to_the_end_of_the_schedule(run):
    first = run(minutes=1.0)
    first.run()
    second = run("other")
    second.resume(first.out / CHECKPOINT)
    assert (second.step, second.elapsed, float(second.number)) == (60, 60.0, 60.0)
    assert second.own == {"mine": torch.zeros(1)}

    second.run()
    assert second.step == 120
    assert float(second.number) == 120
    assert [row["step"] for row in rows_of(second)][:4] == [31, 50, 60, 91]


def test_what_each_process_has_of_its_own_is_lost_if_their_number_changes(run):
    first = run()
    first.save()
    (first.out / "process-0-of-1.pt").rename(first.out / "process-0-of-2.pt")
    second = run("other")
    second.resume(first.out / CHECKPOINT)

    assert second.own is None


def test_an_interrupt_ends_the_run_after_its_step_and_saves(run):
    def interrupt(trainer):
        if trainer.step == 7:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    trainer = run(at_step=interrupt)
    trainer.run()

    assert trainer.stopping
    assert read_checkpoint(trainer.out / CHECKPOINT, "codec")["step"] == 8
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interrupt_ends_it_at_once(run):
    def interrupt(trainer):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    trainer = run(at_step=interrupt)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert not (trainer.out / CHECKPOINT).exists()


def test_a_run_in_a_thread_leaves_signals_alone(run):
    trainer = run()
    thread = threading.Thread(target=trainer.run)
    thread.start()
    thread.join()

    assert trainer.step == 120


@pytest.mark.parametrize(
    ("content", "error", "text"),
    [
        (None, InputError, "to resume from"),
        (b"garbage", ModelError, "is not a checkpoint of this program"),
        ({"stage": "realism"}, ModelError, "is not a checkpoint of --stage codec"),
        ([1, 2], ModelError, "is not a checkpoint of this program"),
    ],
)
def test_what_is_no_checkpoint_of_such_a_run_is_refused(run, tmp_path, content, error, text):
    path = tmp_path / "a.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)

    with pytest.raises(error, match=text):
        run().resume(path)


TWO_PROCESSES = """
import dataclasses, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_runner
from vqcodec.train import runner
from vqcodec.train.presets import tiny

class Uneven(test_runner.Counting):
    def train_step(self):
        runner.time.passed += 0.5 * self.rank  # the second process is slower
        return super().train_step()

def stop(trainer):
    trainer.stopping = trainer.rank == 1 and trainer.step == 60

runner.time = test_runner.Clock()
config = dataclasses.replace(tiny(), minutes=1.0, save_minutes=0.5)
out = Path(sys.argv[3])
trainer = Uneven(config, [Path(sys.argv[2])], out, stop)
trainer.run()
ends = [(trainer.step, trainer.elapsed)]
trainer.config = dataclasses.replace(config, minutes=2.0)
trainer.run()
ends.append((trainer.step, trainer.elapsed))
(out / f"{trainer.rank}.json").write_text(json.dumps([ends, trainer.measured]))
runner.finish_processes()
"""


def test_processes_of_unequal_speed_end_at_one_step(tmp_path):
    """They take the mean of their clocks, 1.25 seconds a step, and what stops one stops all; the
    first one measures and writes."""
    Image.fromarray(smooth_picture(64, 64)).save(tmp_path / "a.png")
    (tmp_path / "steps.py").write_text(TWO_PROCESSES)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    launch += ["--nproc-per-node", "2", str(tmp_path / "steps.py"), str(Path(__file__).parent)]
    out = tmp_path / "two"
    done = subprocess.run(
        [*launch, str(tmp_path / "a.png"), str(out)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    (ends, measured), (others, nothing) = (
        json.loads((out / f"{n}.json").read_text()) for n in "01"
    )

    assert ends == others == [[48, 60.0], [61, 76.25]]
    assert (measured, nothing) == ([25, 48, 61], [])
    assert {path.name for path in out.glob("*.pt")} == {
        CHECKPOINT,
        "process-0-of-2.pt",
        "process-1-of-2.pt",
    }
