"""Plots of a run's loss curves."""

from pathlib import Path


def plot_curves(log: list[dict], path: Path) -> None:
    """Cost and bits of the training steps, and cost of the validation crops, over minutes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    steps = [row for row in log if "cost" in row]
    valid = [row for row in log if "valid_cost" in row]
    panels = figure.subplots(1, 3)
    for key, style in (("cost", "-"), ("bpp", "-"), ("proxy_bpp", ":")):
        panels[0].plot([r["minutes"] for r in steps], [r[key] for r in steps], style, label=key)
    panels[0].set_ylim(bottom=0)
    panels[1].plot(
        [r["minutes"] for r in valid],
        [r["valid_cost"] for r in valid],
        "o-",
        label="validation cost",
    )
    for index in range(len(steps[0]["pass_bpp"]) if steps else 0):
        values = [r["pass_bpp"][index] for r in steps]
        panels[2].plot([r["minutes"] for r in steps], values, label=f"pass {index}, bpp")
    for panel in panels:
        panel.set_xlabel("minutes")
        panel.grid(alpha=0.3)
        if panel.lines:
            panel.legend(fontsize=7)
    figure.savefig(path, dpi=110)
