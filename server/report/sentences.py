"""What a run came to, in sentences: whether it helped, who is served worse, who was not measured or asked no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from server.report import words


def groups_noise(noise: Mapping[str, Any]) -> str:
    """How figures by group were made, in two sentences."""
    epsilon = f"epsilon {noise['epsilon']:g}" + (f" at delta {noise['delta']:g}" if noise["delta"] else "")
    shared = ", most of which cancels between hospitals in the last line" if noise["shared"] else ""
    return (
        f"The figures come from counts with {words.MECHANISMS[noise['mechanism']]} noise{shared}: {epsilon} "
        "of each held-out patient, beside that of the figures above; these patients are never trained on, so that it "
        f"takes nothing from a budget for training. A hospital's count is off by about {noise['deviation']:.0f} "
        "patients, so that only large groups can be told apart."
    )


def too_few_to_say(sites: Sequence[str]) -> list[str]:
    """Whose own figures the noise drowns, in a sentence; nothing where that is nobody."""
    return [f"Too few patients to say under the noise: {', '.join(sites)}."] if sites else []


def by_findings(pooled: Mapping[str, Any] | None) -> list[str]:
    """What a search finds where any report that shares a finding is right; nothing where no study names findings."""
    found = (pooled or {}).get("findings")
    if not found:
        return []
    embedding, codes = found["embedding"], found["codes"]
    return [
        f"All hospitals, where any report that shares a finding is right ({found['queries']} images): mAP "
        f"{words.percent(embedding['map'])} by embedding and {words.percent(codes['map'])} by code; NDCG at 10, by how "
        f"many they share, {words.percent(embedding['ndcg_at_10'])} and {words.percent(codes['ndcg_at_10'])}."
    ]


def certified(pooled: Mapping[str, Any] | None) -> list[str]:
    """What is certified of smoothed codes, a sentence a radius; nothing where that was not measured."""
    found = (pooled or {}).get("certificate")
    if not found:
        return []
    whole = (
        f"Smoothed codes of {found['queries']} images ({found['num_votes']:,} noisy copies each) find "
        f"{words.percent(found['recall_at_10'])} in the first 10."
    )
    each = [
        f"Whatever changes an image by at most {words.decimal(at['radius'])}: {words.percent(at['recall_at_10'])} is "
        f"surely still found, and at most {at['most_flips']:.1f} bits flip on average "
        f"({at['most_flips_bit_by_bit']:.1f} counted bit by bit); each image's certificate holds with probability "
        f"{1 - found['alpha']:.4g}."
        for at in found["radii"]
    ]
    return [whole, *each]


def bits_used(pooled: Mapping[str, Any] | None) -> list[str]:
    """How well the codes use their bits; nothing where that was not measured."""
    bits = (pooled or {}).get("bits")
    if not bits:
        return []
    return [
        f"The codes' bits: {words.percent(bits['balance'])} balanced, {bits['entropy']:.2f} bits of information each "
        f"by itself, correlation of two {bits['correlation']:.2f} on average."
    ]


def not_measured(summary: Mapping[str, Any]) -> list[str]:
    """Who trained and was not measured, and who was left out, a sentence each; none where nobody was."""
    few = [name for name, site in summary["sites"].items() if site["rounds_joined"] and not site["measured"]]
    left_out = [one["site"] for one in (summary["data"] or {}).get("left_out", [])]
    found = []
    if few:
        found.append(
            f"Trained and not measured, for fewer than {summary['least_group']} patients are held out there: "
            f"{', '.join(few)}."
        )
    if left_out:
        found.append(f"Left out, for fewer patients than data.least_patients asks for: {', '.join(left_out)}.")
    return found


def resting(summary: Mapping[str, Any]) -> list[str]:
    """Who is asked no more because it hardly counted, a sentence each."""
    found = []
    for name, site in summary["sites"].items():
        if (rests := site.get("rests")) is None:
            continue
        first, *_, last = rests["low_rounds"]
        paid = "; its patients paid nothing from then on" if site["epsilon"] is not None else ""
        found.append(
            f"{name} counted for less than half of its share in rounds {first} to {last} and was not asked from round "
            f"{rests['from_round']} on{paid}."
        )
    return found


def helped(summary: Mapping[str, Any]) -> str | None:
    """Whether the federation helped, in a sentence; None where nothing was measured."""
    if not (difference := summary.get("difference")):
        return None
    gained, low, high = (words.points(difference[end]) for end in ("recall_at_10", "low", "high"))
    measured = f"{gained} points of recall at 10 over the public start ({low} to {high})"
    if difference["low"] > 0:
        return f"It helped: {measured}."
    if difference["high"] < 0:
        return f"It did not help, and the public start is the better model: {measured}."
    return f"It cannot be told whether it helped: {measured}."


def never_shown(groups: Sequence[str]) -> str:
    """Which groups are shown at no hospital, in a sentence: how many, where they are many."""
    told = words.listing(groups) if len(groups) <= words.MOST_NAMED else f"{len(groups)} groups"
    return f"Too few patients to be shown at any hospital: {told}."


def served_worse(summary: Mapping[str, Any]) -> str | None:
    """Which groups are served worse at all hospitals together, in a sentence; None where no groups were told."""
    compared = [found for found in summary["fairness"].values() if found.get("gap_interval") is not None]
    if not compared and not summary.get("groups_noise"):
        return None
    told = [
        f"{found['worst_group']['group']} ({words.percent(found['worst_group']['recall_at_10'])}, "
        f"{words.unsigned(found['gap'])} points below the group served best, "
        f"{words.unsigned(found['gap_interval'][0])} to {words.unsigned(found['gap_interval'][1])})"
        for found in compared
        if found["gap_interval"][0] > 0
    ]
    if told:
        return f"Served worse: {words.listing(told)}."
    return "It cannot be told whether a group of patients is served worse: noise and chance make gaps as wide."


def stepped_back(summary: Mapping[str, Any]) -> str | None:
    """Where the server went back, in a sentence; None where it never did."""
    watched = summary.get("public_validation")
    if not watched or not watched["stepped_back"]:
        return None
    back = watched["stepped_back"]
    which = words.listing(str(number) for number in back)
    return (
        f"In {words.plural(len(back), 'round')} of {words.spelled(summary['rounds_completed'])} the model fell below "
        f"the best one on public studies ({which}): the server went back to that and halved the step each time."
    )
