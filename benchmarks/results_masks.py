"""The sections of docs/results.md on labelling pixels, from the result files; ``results_page`` joins them."""

from typing import Any

Result = dict[str, Any] | None

MEASURES = {
    "pixel_error": "pixel error",
    "rand_error": "Rand error",
    "warping_error_millionths": "warping error [10⁻⁶]",
    "v_rand": "V_Rand",
    "v_info": "V_info",
}


def membranes(isbi: Result) -> str:
    """Give the table of ISBI 2012."""
    if not isbi:
        return ""
    header = " | ".join(["", *MEASURES.values(), "minutes, one thread"])
    rows = [
        f"| {header} |",
        "|---" * (len(MEASURES) + 2) + "|",
        _row("thresholding", isbi["thresholding"], ""),
    ]
    for name, title in (("n4", "N4, one network"), ("unet", "U-Net, width 16")):
        found = isbi[name]
        minutes = found["seconds"]["mean"] / 60
        rows.append(_row(f"{title} (`{found['recipe']}`)", found, f"{minutes:.0f}"))
        if "pixel_error_postprocessed" in found:
            after = {key: found[f"{key}_postprocessed"] for key in MEASURES}
            rows.append(_row("the same, calibrated and median filtered", after, ""))
    for name, title in (
        ("n4", "*Cireşan et al., four networks*"),
        ("unet", "*U-Net, the paper*"),
        ("human", "*human*"),
    ):
        rows.append(_row(title, isbi["papers"][name], ""))
    table = "\n".join(rows)
    return f"""## Membranes of ISBI 2012

`{isbi["command"]}`: slices {", ".join(map(str, isbi["held_out_slices"]))} of the labelled stack held out, \
{len(isbi["seeds"])} seeds, mean ± deviation. The measures are the challenge's, each at the threshold that is best for it, as the \
challenge took them: of the first three less is better, of the last two more. The papers' figures are those of U-Net's Table 1, on the hidden test \
stack; two of its rows are named in italics. They are other slices, so compare rows above with one another.

{table}
"""


def _row(title: str, found: dict[str, Any], minutes: str) -> str:
    cells = [_cell(key, found[key]) if key in found else "" for key in MEASURES]
    return f"| {' | '.join([title, *cells, minutes])} |"


def _cell(measure: str, value: Any) -> str:
    digits = 0 if measure.endswith("millionths") else 4
    if not isinstance(value, dict):
        return f"{value:,.{digits}f}"
    spread = "" if value["deviation"] is None else f" ± {value['deviation']:,.{digits}f}"
    return f"{value['mean']:,.{digits}f}{spread}"


def hippocampus(result: Result) -> str:
    """Give the section on the narrow V-Net."""
    if not result:
        return ""
    parts = "; ".join(
        f"{part} {result[f'dice_{part}']['mean']:.3f} ± {result[f'dice_{part}']['deviation']:.3f}, "
        f"95 % Hausdorff distance {result[f'hausdorff95_{part}']['mean']:.1f} mm"
        for part in ("anterior", "posterior")
    )
    dice = result["mean_dice"]
    return f"""## Hippocampus

`{result["command"]}`: a V-Net of width 4 and one level less than the paper's (`{result["recipe"]}`), \
{len(result["seeds"])} seeds, {result["held_out_volumes"]} volumes held out, {result["seconds"]["mean"] / 60:.0f} minutes on one thread. \
Mean Dice of both parts {dice["mean"]:.3f} ± {dice["deviation"]:.3f} \
({", ".join(f"{value:.3f}" for value in dice["values"])}). {parts}.
"""


def dense_speed(tiled: Result, dense: Result, step: Result) -> str:
    """Give the section on speed."""
    text = "## How fast pixels are labelled\n"
    if tiled:
        for key, what in (("two_dimensions", "2-D"), ("three_dimensions", "3-D")):
            found = tiled[key]
            size = "×".join(map(str, found["image"][1:]))
            network = found["network"]
            text += f"""
**{what}: {network["name"]}, width {network["width"]}, depth {network["depth"]}, over {size}** (`{_command("tiled_unet")}`, one \
thread): strips take {found["strips_seconds_to_whole"]["processor"]:.2f} of the time of the whole image in one run and \
{found["strips_memory_to_whole"]:.2f} of its extra memory ({found["extra_mebibytes"]["strips"]:,} against \
{found["extra_mebibytes"]["whole"]:,} MiB), and differ from it by {found["largest_difference_from_whole"]["strips"]:.0e} of the largest logit. \
MONAI {tiled["monai"]}'s sliding window at its usual settings takes {found["monai_seconds_to_strips"]["processor"]:.1f} times as long as \
strips, in channels last {found["monai_channels_last_seconds_to_strips"]["processor"]:.1f} times.
"""
        rows = "; ".join(
            f"{row['side']:,}×{row['side']:,} {row['processor_seconds_a_megapixel']:.3f} s a megapixel, "
            f"{row['resident_mebibytes']:,} MiB resident"
            for row in tiled["large"]
        )
        text += f"\nFrom a file of bytes to a file of labels: {rows}.\n"
    if dense:
        layers = dense["dense_over_layers_alone"]["processor"]
        text += f"""
**N4 in its dense form over 512×512** (`{dense["command"]}`): {dense["seconds"]["dense"]["processor"]:.2f} s, \
{layers:.2f} times its convolutions and dense layers alone on the same fragments, {dense["best_windows_over_median_dense"]:,.0f} times \
faster than window by window (extrapolated from one batch of windows, channels last). By dilation it takes \
{dense["dilation_over_dense"]["processor"]:.1f} times as long. {dense["multiply_adds"] / 1e9:.0f} billion multiply-adds take \
{dense["floor_seconds_at_that_rate"]:.2f} s at the rate of this machine's matrix products.
"""
    if step:
        text += f"""
**A training step of the paper's U-Net at width 32** (`{step["command"]}`; tiles of 252 answered on 68, batch 4): \
{step["seconds"]["striate"]:.2f} s with cutting and turning tiles, weights of borders and all checks; a bare PyTorch loop over a batch in \
memory {step["seconds"]["bare"]:.2f} s (ours takes {step["ours_over_bare"]:.2f} of that), in channels last \
{step["seconds"]["bare_channels_last"]:.2f} s ({step["ours_over_bare_channels_last"]:.2f}).
"""
    return text


def _command(name: str) -> str:
    return f"python benchmarks/{name}.py"
