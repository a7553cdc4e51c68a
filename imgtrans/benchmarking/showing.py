"""A benchmark and amounts of memory in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from imgtrans.benchmarking.memory import Memory

if TYPE_CHECKING:
    from imgtrans.monitor.display import Display

SHOWN: Final = 10
"""Operators in the table."""


def amount(count: float) -> str:
    """Bytes as ``12.3 GiB`` or ``812 MiB``."""
    if count >= 2**30:
        return f"{count / 2**30:,.1f} GiB"
    mib = count / 2**20
    return f"{mib:,.0f} MiB" if mib >= 10 else f"{mib:,.2g} MiB"


def contents(memory: Memory) -> str:
    """What a step's memory holds, the largest first; networks of one kind together."""
    held = {
        "weights": memory.weights,
        "gradients": memory.gradients,
        "the optimizers' moments": memory.moments,
        "images": memory.images,
        "past fakes": memory.pools,
    }
    for name, count in memory.kept.items():
        label = f"layers of the {name.partition('.')[0]}"
        held[label] = held.get(label, 0) + count
    largest = sorted(held.items(), key=lambda item: -item[1])
    return ", ".join(f"{amount(count)} {what}" for what, count in largest if count >= 2**19)


def show(figures: dict[str, Any], display: Display) -> None:
    """Rows of facts, and a table of operators."""
    display.say()
    display.rows([*_about(figures), *_rates(figures), *_measured(figures)])
    display.say()
    parts = ", ".join(f"{part} {share:.0%}" for part, share in figures["time_by_part"].items())
    rows = [
        (each["name"], each["part"], f"{each['calls']:,}", f"{100 * each['share']:.1f} %")
        for each in figures["operators"][:SHOWN]
    ]
    display.say(f"where the time of a step goes: {parts}")
    display.say()
    display.table("", ["operator", "part", "calls", "share"], rows)


def _about(figures: dict[str, Any]) -> list[tuple[str, str]]:
    size, batch = figures["image_size"], f"{figures['batch_size']} images a domain"
    batch += f", {figures['accumulate']} times a step" if figures["accumulate"] > 1 else ""
    threads = f", {figures['threads']} threads" if figures["device"] == "cpu" else ""
    kept = "in memory" if figures["cached"] else f"read by {figures['workers']} workers"
    return [
        ("recipe", f"{figures['recipe']}: {size}×{size} pixels, {batch}"),
        ("images", f"{figures['data']}, {kept}"),
        ("device", f"{figures['device']}, {figures['precision']}{threads}"),
    ]


def _rates(figures: dict[str, Any]) -> list[tuple[str, str]]:
    share = figures["product_flops"] / figures["flops"]
    work = f"{figures['flops'] / 1e9:,.4g} GFLOP a step, {share:.1%} in convolutions and matrix "
    work += f"products; {amount(figures['bytes'])} moved at least"
    if figures["scaled_from_batch"]:
        work += f" (counted on {figures['scaled_from_batch']} images a domain and scaled)"
    gemm = "×".join(f"{side}" for side in figures["gemm"])
    flops, copied = figures["flops_per_second"] / 1e9, figures["bytes_per_second"] / 1e9
    return [
        ("counted", work),
        ("machine", f"{flops:,.4g} GFLOP/s in products ({gemm}), {copied:,.3g} GB/s in copies"),
    ]


def _measured(figures: dict[str, Any]) -> list[tuple[str, str]]:
    seconds, rate = figures["step_seconds"], figures["images_per_second"]
    memory = Memory(**{k: v for k, v in figures["memory"].items() if k != "total"})
    of = f"{figures['steps']} ({_time(figures['fastest_step_seconds'])} the fastest)"
    counted = f"a step needs {amount(memory.total)}: {contents(memory)}"
    return [
        (
            "floor",
            f"{_time(figures['floor_seconds'])}; no step of one product after another is faster",
        ),
        ("step", f"{_time(seconds)}, the median of {of}; {rate:,.1f} images/s"),
        ("reached", f"{figures['floor_share']:.0%} of the floor"),
        ("", f"{figures['product_rate_share']:.0%} of the rate of matrix products"),
        ("data wait", f"{100 * figures['data_wait_share']:.1f} % of the step"),
        ("memory", f"{amount(figures['peak_memory_bytes'])} at most\n{counted}"),
    ]


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
