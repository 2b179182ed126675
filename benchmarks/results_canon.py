"""The sections of docs/results.md on the canon, from the result files; ``results_page`` joins them."""

from typing import Any

Result = dict[str, Any] | None

ANSWERS = {
    "connections": "connections",
    "multiply_adds": "multiply-adds",
    "mult_adds": "mult-adds",
    "macs": "MACs",
    "flops": "flops",
}


def short_runs(resnet: Result, pooling: Result, denker: Result) -> str:
    """Give the section on experiments that are smaller than the papers'."""
    text = "## Smaller than the papers' experiments\n"
    if resnet:
        epochs, whole = resnet["epochs"], resnet["epochs_of_the_published_recipe"]
        text += f"""
**ResNet-20 on CIFAR-10.** `{resnet["command"]}`: {resnet["test_error_percent"]:.2f} % test error after {epochs} of \
{whole} epochs. The paper has {resnet["paper_error_percent"]:g} % after all. {_why_short(resnet)}
"""
    if pooling:
        errors = ", ".join(
            f"{name} {row['test_error_percent']['mean']:.2f} ± "
            f"{row['test_error_percent']['deviation']:.2f} %"
            for name, row in pooling["poolings"].items()
        )
        text += f"""
**Pooling as the only change** (`{pooling["command"]}`: {pooling["network"]}; {pooling["data"]}; \
{pooling["epochs"]} epochs, {len(pooling["seeds"])} seeds, each with the best of several rates on held-out images): \
{errors} test error.{_edges(pooling)} Scherer et al. have 5.22 ± 0.52 % with max pooling and 7.32 ± 1.27 % with \
subsampling, on NORB.
"""
    if denker:
        text += f"""
**Denker's recogniser on {denker["data"].upper()}**, {len(denker["seeds"])} seeds: \
{_errors(denker, "features")} on features made by hand-designed convolutions, {_errors(denker, "bitmaps")} on raw \
bitmaps. [The page on it](denker1988.md) has rejection, the learning curve and what compares with the paper.
"""
    return text


def _edges(pooling: dict[str, Any]) -> str:
    """Say of which pooling the best rate was the least or the largest that was tried."""
    text = ""
    for name, row in pooling["poolings"].items():
        rates = [float(rate) for rate in row["held_out_error_percent_by_rate"]]
        if row["rate"] in (min(rates), max(rates)):
            text += (
                f" Of {name} the best rate, {row['rate']:g}, is at the edge of those tried "
                f"({min(rates):g} to {max(rates):g}): another might be better still."
            )
    return text


def _why_short(resnet: dict[str, Any]) -> str:
    if resnet["is_the_published_recipe"]:
        return "This is the published recipe, whole."
    return (
        "The short run shows that the path works, and no more: the whole recipe waits for an accelerator, "
        "`python benchmarks/resnet20_cifar10.py --device cuda`."
    )


def _errors(denker: dict[str, Any], features: str) -> str:
    classifiers = denker["inputs"][features]
    return ", ".join(
        f"{name} {row['error_percent']['mean']:.2f} %" for name, row in classifiers.items()
    )


def counting(result: Result) -> str:
    """Give the table of counters side by side."""
    if result is None:
        return ""
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    lines = [
        "## Counting\n",
        f"What each counter answers, and the median of its seconds, in one run ({versions}; one thread, after "
        "imports). LeNet-5 is the paper's, 340,908 connections.\n",
        "| network | counter | answer | seconds |",
        "|---|---|---|--:|",
    ]
    for network, row in result["networks"].items():
        for counter, told in row["counters"].items():
            answer = ", ".join(
                f"{number:,} {ANSWERS[kind]}"
                for kind, number in told["answer"].items()
                if kind in ANSWERS
            )
            lines.append(f"| `{network}` | {counter} | {answer} | {told['seconds']:.4f} |")
    ours = {name: row["counters"]["striate"] for name, row in result["networks"].items()}
    deep, share = ours["resnet1202"], result["networks"]["resnet1202"]["striate_of_torchinfo"]
    lines.append(
        f"\nOur trace of ResNet-1202 takes {share:.2f} of torchinfo's time. Building that network takes "
        f"{deep['building_seconds']:.2f} s; built without its weights and traced, "
        f"{deep['without_weights_seconds']:.2f} s together. For VGG-16 that is "
        f"{ours['vgg16']['without_weights_seconds']:.3f} s, for ResNet-152 "
        f"{ours['resnet152']['without_weights_seconds']:.3f} s."
    )
    return "\n".join(lines) + "\n"


def speed(result: Result) -> str:
    """Give the table of forward passes and training steps."""
    if result is None:
        return ""
    lines = [
        "## The canon's speed\n",
        f"Seconds for {result['batch_size']} images of 224×224, medians of {result['rounds']} rounds in which the three "
        "take turns: ours in channels last, as `striate train` runs it, torchvision's as people write it, and "
        "torchvision's in channels last. Ratios are medians of the rounds' ratios; below 1 ours is faster.\n",
        "| network | work | ours | torchvision | ratio | in channels last | ratio |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for network, works in result["networks"].items():
        for work, row in works.items():
            times, ratios = row["median_seconds"], row["median_of_ratios_to"]
            lines.append(
                f"| `{network}` | {work} | {times['striate']:.2f} | {times['torchvision']:.2f} | "
                f"{ratios['torchvision']:.2f} | {times['torchvision_channels_last']:.2f} | "
                f"{ratios['torchvision_channels_last']:.2f} |"
            )
    return "\n".join(lines) + "\n"
