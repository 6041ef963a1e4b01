"""What was measured, as a person reads it and as a program does."""

import dataclasses
import json
import pathlib
import statistics

import loads

HERE = pathlib.Path(__file__).resolve().parent


def brief(sample):
    if not sample.requests_a_second:
        return f"{sample.memory_each_bytes:7.0f} B each, {sample.cpu_us:.0f} µs CPU a second"
    return (f"{sample.cpu_us:8.2f} µs CPU ({sample.cpu_user_us:.2f} + {sample.cpu_system_us:.2f})"
            f" {sample.requests_a_second / 1000:8.1f} k/s p99 {sample.p99_ms:.2f} ms")


def spread(values, digits=2):
    """Median and range."""
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f}–{max(values):.{digits}f})")


def middle(samples, field):
    return statistics.median(getattr(sample, field) for sample in samples)


def ratios(ours, theirs):
    """corelay ÷ another, CPU, round by round: what disturbed a round disturbed both."""
    return [one.cpu_us / other.cpu_us for one, other in zip(ours, theirs) if other.cpu_us > 0]


def table(load, by_proxy):
    if isinstance(load, loads.Idle):
        yield "| proxy | bytes each | RSS, MiB | CPU, µs a second |"
        yield "|---|---|---|---|"
        for name, samples in by_proxy.items():
            each = spread([sample.memory_each_bytes for sample in samples], 0)
            yield (f"| {name} | {each} | {middle(samples, 'memory_peak_bytes') / 2**20:.1f} | "
                   f"{middle(samples, 'cpu_us'):.0f} |")
        return
    yield (f"| proxy | CPU, µs/{load.unit} | user + system | thousand/s | p50, ms | p99 | p99.9 | "
           "peak RSS, MiB |")
    yield "|---|---|---|---|---|---|---|---|"
    for name, samples in by_proxy.items():
        cells = [
            name,
            spread([sample.cpu_us for sample in samples]),
            f"{middle(samples, 'cpu_user_us'):.2f} + {middle(samples, 'cpu_system_us'):.2f}",
            spread([sample.requests_a_second / 1000 for sample in samples], 1),
            f"{middle(samples, 'p50_ms'):.3f}",
            f"{middle(samples, 'p99_ms'):.3f}",
            f"{middle(samples, 'p999_ms'):.3f}",
            f"{middle(samples, 'memory_peak_bytes') / 2**20:.1f}",
        ]
        yield f"| {' | '.join(cells)} |"


def comparison(load, by_proxy):
    """The ratios with their targets."""
    ours = by_proxy.get("corelay")
    if not ours or isinstance(load, loads.Idle):
        return
    lines = []
    for name, samples in by_proxy.items():
        values = ratios(ours, samples) if name not in ("corelay", "direct") else []
        if values:
            target = load.targets.get(name)
            met = "" if target is None else (
                f", target ≤ {target:.2f}: "
                + ("met" if statistics.median(values) <= target else "MISSED"))
            lines.append(f"- corelay ÷ {name}: {spread(values)}{met}")
    yield from lines


def text(options, samples, facts, started):
    out = [f"# {options.record or 'Proxies side by side'}, {started:%Y-%m-%d %H:%M} UTC", ""]
    out.append(f"{facts['cpu']}, {facts['memory_gib']} GiB, Linux {facts['kernel']}; "
               f"commit {facts['commit']}; {facts['rounds']} interleaved rounds, one worker each, "
               + ("proxies on a CPU of their own" if facts["pinned"] else "nothing pinned")
               + "; medians (lowest–highest).")
    out += ["", *(f"- {name}: {version}" for name, version in facts["versions"].items())]
    for name, by_proxy in samples.items():
        load = loads.LOADS[name]
        out += ["", f"## {name}: {load.about}", ""]
        if isinstance(load, loads.Benchmark):
            requests = next(iter(by_proxy.values()))[0].requests
            out += [f"`redis-benchmark -r {load.keys} {' '.join(load.args)}`, "
                    f"{requests:,} requests a run", ""]
        out += table(load, by_proxy)
        lines = list(comparison(load, by_proxy))
        out += ["", *lines] if lines else []
    return "\n".join(out) + "\n"


def write(options, samples, facts, started, markdown):
    """The record: the text with the configurations, and all samples as JSON."""
    directory = HERE / "record"
    directory.mkdir(exist_ok=True)
    stem = f"{started:%Y-%m-%d}-{options.record}"
    configs = "".join(f"\n### {name}\n\n```\n{body}```\n" for name, body in
                      facts["configs"].items())
    again = f"perf/compare --rounds {options.rounds} --requests {options.requests}"
    again += f" --loads {','.join(options.loads)}" + (" --pin" if options.pin else "")
    page = directory / f"{stem}.md"
    page.write_text(f"{markdown}\n## Again\n\n`{again}`\n{configs}", encoding="utf-8")
    raw = {name: {proxy: [dataclasses.asdict(sample) for sample in many]
                  for proxy, many in by_proxy.items()} for name, by_proxy in samples.items()}
    data = directory / f"{stem}.json"
    document = {"facts": facts, "started": started.isoformat(), "command": again, "samples": raw}
    data.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return [page.relative_to(HERE.parent), data.relative_to(HERE.parent)]
