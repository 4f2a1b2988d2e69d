"""The command ``cnninte``."""

import errno
import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from .. import artifacts
from . import plan
from . import run as runner

__all__ = ["main"]


class _Errors(click.Group):
    """Shows what a user can mend as one line, without a traceback."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except artifacts.DataError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except OSError as error:
            if error.errno == errno.EPIPE or not error.strerror:
                raise
            where = error.filename or "a file of the run, or the working folder"
            click.echo(f"Error: {error.strerror}: {where}", err=True)
            ctx.exit(2)


@click.group(cls=_Errors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cnninte-utils")
def main():
    """Run a series of notebooks on looking inside convolutional networks."""
    backend = os.environ.get("KERAS_BACKEND")
    if backend and not (backend.isidentifier() and find_spec(backend)):
        raise plan.SeriesError(
            f"$KERAS_BACKEND is {backend!r}, which is not installed: install it, or unset it"
        )


@main.command("list")
def list_notebooks():
    """Show the series: number, title, paper, needs, minutes at each preset."""
    for n in plan.load_series(plan.project_dir()):
        needs = f"   needs {', '.join(n.needs)}" if n.needs else ""
        minutes = " · ".join(f"{preset} {n.minutes[preset]:g}" for preset in plan.PRESETS)
        click.echo(f"{n.file:<22} {n.title}\n{'':<22} paper {n.paper}   minutes: {minutes}{needs}")


@main.command()
@click.argument("notebooks", nargs=-1)
@click.option("--preset", default="quick", show_default=True, help=" | ".join(plan.PRESETS))
@click.option("-p", "overrides", nargs=2, multiple=True, metavar="NAME VALUE", help="Set a parameter.")
@click.option("--seeds", default="", metavar="0,1,2", help="Run every notebook once for each seed.")
@click.option("--jobs", type=click.IntRange(1), help="Notebooks at a time (default: half of the processors).")
@click.option("--scheduler", metavar="tcp://…", help="Use a running Dask scheduler on the same file system.")
@click.option("--force", is_flag=True, help="Execute again what is done.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the run (default: runs/PRESET).")
def run(notebooks, preset, overrides, seeds, jobs, scheduler, force, out):
    """Execute NOTEBOOKS (numbers or names; default: all) and write an index of what came out."""
    project = plan.project_dir()
    folder = _resolved(out or project / "runs" / preset)
    chosen = plan.select(plan.load_series(project), notebooks)
    tasks = plan.plan(chosen, preset, folder, overrides=dict(overrides), seeds=_integers(seeds))
    click.echo(f"running {len(tasks)} notebooks at {preset} → {_relative(folder)}")
    try:
        results = runner.run(
            tasks, jobs=jobs or _default_jobs(), scheduler=scheduler, force=force, tell=click.echo
        )
    except KeyboardInterrupt:
        click.echo("\nstopped; the same command goes on from here", err=True)
        sys.exit(130)
    _finish(folder, results)


def _finish(folder: Path, results: list[tuple[runner.Execution, bool]]) -> None:
    from .pages import write_pages

    index = write_pages(folder)
    failed = [record for record, _ in results if record.status == "failed"]
    for record in failed:
        where = "" if record.failing_cell is None else f", cell {record.failing_cell}"
        click.echo(f"\n{record.name}{where}:\n{record.failing_source}\n→ {record.error}", err=True)
    if all(was_cached for _, was_cached in results):
        click.echo(
            "nothing had to run: notebooks, parameters and package are as they were (--force runs them)"
        )
    click.echo(f"open {_relative(index)}")
    sys.exit(1 if failed else 0)


@main.command()
@click.argument("notebook")
@click.option("--preset", default="quick", show_default=True, help=" | ".join(plan.PRESETS))
def params(notebook, preset):
    """Print NOTEBOOK's parameters at a preset as YAML, for ``papermill -f``."""
    import yaml

    (chosen,) = plan.select(plan.load_series(plan.project_dir()), [notebook])
    defaults = {name: p.default for name, p in plan.declared_parameters(chosen.path).items()}
    click.echo(yaml.safe_dump(defaults | plan.injected_parameters(chosen, preset), sort_keys=False), nl=False)


@main.group()
def data():
    """Show or fetch data sets."""


@data.command()
@click.argument("name", required=False)
def status(name):
    """Show where each data set is; with NAME, where it is or how to get it."""
    from .. import datasets

    rows = datasets.status()
    if name is not None:
        _check_data_set(name)
        click.echo("\n".join(f"{state}: {where}" for row, state, where in rows if row == name))
        return
    for row, state, where in rows:
        short = where if state == "ready" else f"not in place; `cnninte data status {row}` says how to get it"
        click.echo(f"{row:<15} {state:<8} {short}")


@data.command()
@click.argument("name")
def fetch(name):
    """Make sure that data set NAME is on this machine."""
    from .. import datasets

    _check_data_set(name)
    click.echo(datasets.fetch(name))


def _check_data_set(name: str) -> None:
    from .. import datasets

    names = (*datasets.NAMES, *datasets.broden.NAMES)
    if name not in names:
        raise plan.SeriesError(f"unknown data set {name!r}: choose from {', '.join(names)}")


@main.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where the pages go (default: FOLDER).")
def pages(folder, out):
    """Build index.html and a page for each notebook of the run in FOLDER, such as results/standard."""
    from .pages import write_pages

    click.echo(f"open {_relative(write_pages(_resolved(folder), out and _resolved(out)))}")


@main.command()
@click.option("--out", type=click.Path(path_type=Path), help="Folder (default: sheets).")
def sheets(out):
    """Write the learners' copies: notebooks without solutions and outputs."""
    project = plan.project_dir()
    folder = out or project / "sheets"
    for notebook in plan.load_series(project):
        plan.learner_copy(notebook.path, folder / notebook.path.name)
        click.echo(_relative(folder / notebook.path.name))


@main.command()
def clean():
    """Remove runs, learners' copies and trained networks; data sets stay."""
    project = plan.project_dir()
    for folder in (project / "runs", project / "sheets"):
        if folder.exists():
            shutil.rmtree(folder)
            click.echo(f"removed {_relative(folder)}")
    artifacts.clear_cache()
    click.echo(f"removed trained networks in {artifacts.cache_dir() / 'artifacts'}")


@main.command()
@click.argument("architecture", type=click.Choice(["alexnet", "vgg19"]))
@click.option("--full", "is_full", is_flag=True, help="At full width; wants a GPU.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("weights"), show_default=True)
def pretrain(architecture, is_full, out):
    """Train ARCHITECTURE on Tiny ImageNet: the bundled weights again (an hour on two cores), or --full."""
    from ..networks import pretraining

    accuracies = pretraining.pretrain(architecture, out, is_full=is_full)
    written = out / pretraining.file_of(architecture, is_full)
    click.echo(
        f"{_relative(written)}: test accuracy {accuracies['top1']:.1%}, "
        f"{accuracies['top5']:.1%} among the first five"
    )


@main.command()
@click.argument("notebooks", nargs=-1)
def refresh(notebooks):
    """For maintainers: put the outputs of ``runs/quick`` into ``notebooks/``."""
    project = plan.project_dir()
    for notebook in plan.select(plan.load_series(project), notebooks):
        record = artifacts.read_json(project / "runs" / "quick" / "records" / f"{notebook.file}.json", {})
        if not runner.is_record(record) or record["status"] != "done":
            raise plan.SeriesError(f"{notebook.file} has no finished run in runs/quick: run it first")
        with artifacts.atomic_path(notebook.path) as temporary:
            shutil.copy(project / "runs" / "quick" / notebook.path.name, temporary)
        click.echo(f"refreshed {_relative(notebook.path)}")


def _integers(text: str) -> list[int] | None:
    try:
        return [int(part) for part in text.split(",")] if text else None
    except ValueError:
        raise plan.SeriesError(f"--seeds is {text!r}: expected whole numbers with commas, as 0,1,2") from None


def _resolved(folder: Path) -> Path:
    try:
        return folder.resolve()
    except (RuntimeError, ValueError) as error:  # a link to itself, a name with a zero byte
        raise plan.SeriesError(f"{str(folder)!r} is no folder ({error})") from None


def _default_jobs() -> int:
    return max(1, (os.cpu_count() or 1) // 2)


def _relative(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
