"""Many files: folders, worker processes, what is skipped, and how it ends.

Worker processes import this module to find its functions: it must not import torch.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from vqcodec.bitstream.container import unpack
from vqcodec.cli import main, worker_processes, workers
from vqcodec.cli.console import Report
from vqcodec.cli.paths import Job
from vqcodec.errors import InputError

ROOT = Path(__file__).parents[1]
OLD = 1_000_000_000  # seconds, a time in 2001


@pytest.fixture
def tree(tmp_path, monkeypatch, picture) -> Path:
    """The working folder: pictures in folders, and what is not to be taken."""
    monkeypatch.chdir(tmp_path)
    Path("in/deep/.hidden").mkdir(parents=True)
    for number, name in enumerate(("in/a.png", "in/b.JPG", "in/deep/a.png")):
        Image.fromarray(picture[number : number + 32, :48]).save(name)
    Path("in/notes.txt").write_text("not a picture")
    Path("in/._a.png").write_text("what macOS leaves on foreign disks")
    Path("in/deep/.hidden/c.png").write_text("not a picture")
    return tmp_path


@pytest.fixture
def coding(model_folder):
    """Call a command with the tests' model."""

    def call(command, *args):
        line = [command, *map(str, args), "--model", str(model_folder)]
        result = CliRunner().invoke(main, line)
        found = result.exception
        assert found is None or isinstance(found, SystemExit), found
        return result

    return call


def files(folder: str) -> list[str]:
    return sorted(path.as_posix() for path in Path(folder).rglob("*") if path.is_file())


# Which files


def test_a_folder_is_taken_with_its_tree_and_comes_back(tree, coding):
    encoded = coding("encode", "in", "-r", "--output-dir", "out/coded")
    decoded = coding("decode", "out/coded", "-r", "--output-dir", "back", "--format", "bmp")

    assert (encoded.exit_code, decoded.exit_code) == (0, 0)
    assert files("out/coded") == [f"out/coded/{name}.vqc" for name in ("a", "b", "deep/a")]
    assert files("back") == [f"back/{name}.bmp" for name in ("a", "b", "deep/a")]
    assert encoded.stdout.splitlines()[-1].startswith("3 of 3 files, 0.0 MP, ")


def test_without_a_folder_for_them_outputs_lie_beside_their_sources(tree, coding):
    assert coding("encode", "in/deep", "-r").exit_code == 0
    assert files("in/deep") == ["in/deep/.hidden/c.png", "in/deep/a.png", "in/deep/a.vqc"]


def test_files_may_stand_beside_folders(tree, coding):
    coding("encode", "in/b.JPG", "in/deep", "-r", "--output-dir", "out")

    assert files("out") == ["out/a.vqc", "out/b.vqc"]


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        ("encode in/a.png in/deep/a.png --output-dir out", 2, "would be written for in/a.png, in"),
        ("encode in in/deep -r --output-dir out", 2, "would be written for"),
        ("encode in -r -o out", 2, "-o does not go with -r"),
        ("encode - --output-dir out", 2, "not stdin"),
        ("encode - -o x.vqc --preserve-times", 2, "streams have no times"),
        ("encode in -r -j 0", 2, "not in the range"),
        ("decode in -r", 3, "no file below in ends in .vqc"),
        ("encode in -r --output-dir in/notes.txt", 7, "cannot make the folder in/notes.txt"),
        ("encode in --output-dir out", 3, "in: is a directory"),
    ],
)
def test_what_cannot_be_is_told_before_any_work(tree, coding, line, code, text):
    before = files(".")
    result = coding(*line.split())

    assert result.exit_code == code
    assert text in result.stderr
    assert files(".") == before


def test_a_folder_that_cannot_be_listed_is_one_line(tree, coding, monkeypatch):
    def walk(root, onerror):
        onerror(PermissionError(13, "Permission denied", str(root)))

    monkeypatch.setattr(os, "walk", walk)
    result = coding("encode", "in", "-r")

    assert result.exit_code == 3
    assert result.stderr == "vqcodec: the folder in cannot be listed: Permission denied\n"


def test_what_exists_can_be_skipped(tree, coding):
    Path("out").mkdir()
    Path("out/a.vqc").write_bytes(b"kept")
    result = coding("encode", "in", "-r", "--output-dir", "out", "--skip-existing")
    again = coding("encode", "in", "-r", "--output-dir", "out", "--skip-existing", "-j", "2")

    assert (result.exit_code, again.exit_code) == (0, 0)
    assert Path("out/a.vqc").read_bytes() == b"kept"
    assert result.stdout.splitlines()[-1].startswith("2 of 3 files, ")
    assert result.stdout.endswith("1 skipped: their outputs exist\n")
    assert "0 of 3 files, " in again.stdout


def test_times_can_be_kept_in_both_directions(tree, coding):
    os.utime("in/a.png", (OLD, OLD))
    coding("encode", "in/a.png", "-o", "a.vqc", "--preserve-times")
    coding("decode", "a.vqc", "--preserve-times")

    assert os.stat("a.vqc").st_mtime == os.stat("a.png").st_mtime == OLD


# Worker processes


@pytest.mark.slow
def test_workers_write_the_same_files_and_go_on_after_a_bad_one(tree, coding):
    Path("in/bad.png").write_text("not a picture")
    alone = coding("encode", "in", "-r", "--output-dir", "one", "-v")
    shared = coding("encode", "in", "-r", "--output-dir", "two", "-v", "-j", "2")

    assert (alone.exit_code, shared.exit_code) == (3, 3)
    told, again = (
        [line for line in result.stderr.splitlines() if line.startswith("vqcodec: ")]
        for result in (alone, shared)
    )
    assert told == again
    assert "\n3 of 4 files, " in shared.stderr  # with the failures, not among the results
    assert " of 4 files, " not in shared.stdout
    assert "vqcodec: in/bad.png: input is not an image" in shared.stderr
    assert shared.stderr.endswith("vqcodec: 1 of 4 files failed\n")
    assert files("two") == ["two/a.vqc", "two/b.vqc", "two/deep/a.vqc"]
    for name in files("two"):
        assert Path(name).read_bytes() == Path(name.replace("two", "one")).read_bytes()
        assert f"-> {name} " in shared.stdout
    back = coding("decode", "two", "-r", "--output-dir", "back", "-j", "2")
    assert (back.exit_code, len(files("back"))) == (0, 3)


def die_or_return(job: Job, report: Report) -> workers.Done:
    if job.source == "dies":
        os._exit(9)
    if job.source == "fails":
        raise InputError("found this")
    report.line(f"{job.source} in {os.getpid()}")
    return workers.Done(10, 100)


def outcomes(sources: list[str], count: int, work=die_or_return) -> list[workers.Outcome]:
    jobs = [Job(source, source) for source in sources]
    return list(worker_processes.in_workers(jobs, work, Report(), count))


def test_a_worker_that_dies_costs_one_file():
    found = outcomes(["a", "dies", "b", "fails", "c"], 1)

    failures = {outcome.job.source: outcome.failure for outcome in found if outcome.failure}
    assert [outcome.job.source for outcome in found] == ["a", "dies", "b", "fails", "c"]
    assert failures["fails"] == ("found this", 3)
    assert failures["dies"] == ("the process that worked on it died, exit code 9", 1)
    pids = [outcome.said[0][0].split()[-1] for outcome in found if outcome.done]
    assert pids[0] != pids[1] == pids[2]
    assert str(os.getpid()) not in pids


def threads(job: Job, report: Report) -> workers.Done:
    return workers.Done(int(os.environ["OMP_NUM_THREADS"]), 1)


@pytest.mark.parametrize(("chosen", "expected"), [(None, 4), ("3", 3)])
def test_workers_share_the_cores_unless_threads_are_chosen(monkeypatch, chosen, expected):
    monkeypatch.setattr(worker_processes, "_cores", lambda: 9)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if chosen is not None:  # what --threads sets
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)

    assert [found.done.size for found in outcomes(["a", "b"], 2, threads)] == [expected] * 2


def bug(job: Job, report: Report) -> workers.Done:
    raise IndexError(job.source)


def test_a_bug_in_a_worker_keeps_its_traceback():
    with pytest.raises(IndexError, match="a") as found:
        outcomes(["a"], 1, bug)

    assert "in bug\n" in str(found.value.__cause__)


def children(pid: int) -> list[int]:
    """The processes that `pid` started and that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")")[1].split()
        except OSError:
            continue  # it ended
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
    except OSError:
        return False


def end(pids: list[int], limit: float = 60) -> bool:
    """Wait until none of the processes runs; Python's resource tracker goes last, by itself."""
    start = time.monotonic()
    while any(map(running, pids)) and time.monotonic() < start + limit:
        time.sleep(0.05)
    return not any(map(running, pids))


@pytest.fixture
def long_run(tree, model_folder, picture):
    """`encode -j 2` at work in a process group of its own, its first file written."""
    Path("many").mkdir()
    image = Image.fromarray(picture).resize((240, 160))
    for number in range(40):
        image.save(f"many/{number}.png")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    arguments = ["encode", "many", "-r", "--output-dir", "out", "-j", "2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vqcodec", *arguments, "--model", str(model_folder)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    while process.poll() is None and not (Path("out").is_dir() and files("out")):
        time.sleep(0.02)
    assert process.poll() is None, process.stderr.read()
    workers = children(process.pid)
    yield process, workers
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@needs_proc
@pytest.mark.slow
@pytest.mark.parametrize("whole_group", [True, False])
def test_ctrl_c_leaves_whole_files_and_no_process(long_run, whole_group):
    process, found = long_run
    assert len(found) >= 2
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == workers.STOPPED, errors.decode()
    assert errors.startswith(b"vqcodec: stopped; ")
    assert errors.count(b"\n") == 1
    written = files("out")
    assert 1 <= len(written) < 40
    assert all(unpack(Path(name).read_bytes()).header.width == 240 for name in written)
    assert end(found)


@needs_proc
@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(long_run):
    process, workers = long_run
    process.kill()
    process.wait()

    assert end(workers)
    assert all(name.endswith(".vqc") for name in files("out"))


def test_ctrl_c_stops_files_in_one_process_too(tree, coding, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("vqcodec.codec.Codec.encode", interrupt)
    result = coding("encode", "in", "-r")

    assert result.exit_code == workers.STOPPED
    assert result.stderr == "vqcodec: stopped; 0 of 3 files were tried\n"
    assert not list(Path("in").rglob("*.vqc"))
