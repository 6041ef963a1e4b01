"""What was measured, as a person reads it and as a program does."""

import dataclasses
import json
import pathlib
import statistics

import loads

HERE = pathlib.Path(__file__).resolve().parent

# A figure of a sample: its name in the summary, its size there, its digits.
FIGURES = {
    "cpu_us": ("CPU, µs/{unit}", 1, 2),
    "mean_ms": ("mean latency, µs", 1e3, 1),
    "p99_ms": ("p99, ms", 1, 3),
    "p999_ms": ("p99.9, ms", 1, 3),
    "memory_each_bytes": ("memory each, bytes", 1, 0),
    "memory_grown_bytes": ("memory for {flight:.0f} MiB in flight, MiB", 1 / loads.MIB, 1),
}

NOTES = """\
The ratio is the median of the ratios of each round, with the lowest and the highest; the figures
beside it are medians, too. What the rows mean, and what they do not, is in perf/README.md. Above
all: the echo server answers a request with one receive and one send, and waits for nobody; a
proxied request takes two of each, less what is gathered into one. So 1.15 of it means that nearly
all of the work towards the stores is shared between requests.
"""


def brief(sample):
    if not sample.requests_a_second:
        return f"{sample.memory_each_bytes:7.0f} B each, {sample.cpu_us:.0f} µs CPU a second"
    return (f"{sample.cpu_us:8.2f} µs CPU ({sample.cpu_user_us:.2f} + {sample.cpu_system_us:.2f})"
            f" {sample.requests_a_second / 1000:8.1f} k/s p99 {sample.p99_ms:.2f} ms")


def spread(values, digits=2):
    """Median and range."""
    return (f"{statistics.median(values):.{digits}f} "
            f"({min(values):.{digits}f}–{max(values):.{digits}f})")


def there(samples):
    """Those that did not fail."""
    return [sample for sample in samples or [] if sample]


def middle(samples, field):
    return statistics.median(getattr(sample, field) for sample in samples)


def ratios(ours, theirs, field="cpu_us"):
    """One ÷ another, round by round: what disturbed a round disturbed both."""
    pairs = [(getattr(one, field), getattr(other, field))
             for one, other in zip(ours or [], theirs or []) if one and other]
    return [one / other for one, other in pairs if other > 0]


def summary(samples):
    """Everything that is aimed at, in one table."""
    yield "| load | figure | corelay | against | its | ratio | target | |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, by_proxy in samples.items():
        load = loads.LOADS[name]
        for aim in load.aims:
            line = row(load, aim, by_proxy)
            if line:
                yield f"| {name}: {load.about} | {' | '.join(line)} |"


def row(load, aim, by_proxy):
    """The cells of one aim; nothing where one of the two was not measured."""
    ours, theirs = by_proxy.get(aim.whose), by_proxy.get(aim.of)
    if ours is None or (aim.of and theirs is None):
        return None
    label, size, digits = FIGURES[aim.figure]
    label = label.format(unit=load.unit, flight=getattr(load, "in_flight", 0) / loads.MIB)
    value = lambda many: f"{middle(there(many), aim.figure) * size:.{digits}f}"
    own = "" if aim.whose == "corelay" else f" ({aim.whose})"
    limit = f"≤ {aim.limit:.2f}" if aim.of else f"≤ {aim.limit * size:.0f}"
    limit += f" ({aim.why})" if aim.why else ""
    if not there(ours) or (aim.of and not there(theirs)):
        return [label, "failed", aim.of or "—", "—", "—", limit, "**MISSED**"]
    if aim.of:
        found = ratios(ours, theirs, aim.figure)
        if not found:
            return None
        reached, shown = statistics.median(found), spread(found)
        cells = [label, value(ours) + own, aim.of, value(theirs), shown]
    else:
        reached = middle(there(ours), aim.figure)
        cells = [label, value(ours), "—", "—", "—"]
    # A figure that only some rounds have is none.
    whole = all(ours) and (not aim.of or all(theirs))
    return [*cells, limit, "met" if reached <= aim.limit and whole else "**MISSED**"]


def table(load, by_proxy):
    """All figures of all proxies under one load."""
    idle, in_flight = isinstance(load, loads.Idle), getattr(load, "in_flight", 0)
    late = any(sample.late_p99_ms for many in by_proxy.values() for sample in there(many))
    if idle:
        heads = ["bytes each", "RSS, MiB", "CPU, µs a second", "without connections"]
    else:
        heads = [f"CPU, µs/{load.unit}", "user + system", "thousand/s", "mean, ms", "p50", "p99",
                 "p99.9", "peak RSS, MiB"]
        heads += ["of it for this load"] if in_flight else []
        heads += ["late by itself, p99, ms"] if late else []
    yield f"| proxy | {' | '.join(heads)} |"
    yield "|---" * (len(heads) + 1) + "|"
    for name, many in by_proxy.items():
        samples = there(many)
        if not samples:
            yield f"| {name} | failed {'| ' * len(heads)}|"
            continue
        mib = lambda field: f"{middle(samples, field) / loads.MIB:.1f}"
        each = lambda field, digits=2, size=1: spread(
            [getattr(sample, field) * size for sample in samples], digits)
        if idle:
            cells = [each("memory_each_bytes", 0), mib("memory_peak_bytes"), each("cpu_us", 0),
                     f"{middle(samples, 'cpu_alone_us'):.0f}"]
        else:
            cells = [
                each("cpu_us"),
                f"{middle(samples, 'cpu_user_us'):.2f} + {middle(samples, 'cpu_system_us'):.2f}",
                each("requests_a_second", 1, 1e-3),
                *(f"{middle(samples, field):.3f}"
                  for field in ("mean_ms", "p50_ms", "p99_ms", "p999_ms")),
                mib("memory_peak_bytes"),
            ]
            cells += [mib("memory_grown_bytes")] if in_flight else []
            cells += [f"{middle(samples, 'late_p99_ms'):.3f}"] if late else []
        yield f"| {name} | {' | '.join(cells)} |"


def comparison(load, by_proxy):
    """corelay's share of each of the others, also where nothing is aimed at."""
    if isinstance(load, loads.Idle):
        return
    for name, samples in by_proxy.items():
        found = ratios(by_proxy.get("corelay"), samples)
        if found and name not in ("corelay", "direct"):
            yield f"- CPU, corelay ÷ {name}: {spread(found)}"


def text(options, samples, facts, started):
    out = [f"# {options.record or 'Proxies side by side'}, {started:%Y-%m-%d %H:%M} UTC", ""]
    out.append(f"{facts['cpu']}, {facts['memory_gib']} GiB, Linux {facts['kernel']}; "
               f"commit {facts['commit']}; {facts['rounds']} interleaved rounds, one worker each, "
               f"{facts['minutes']} minutes; medians (lowest–highest). "
               f"In {'all loads' if options.pin else 'the loads named pin-'} the proxies have a "
               "CPU of their own; in others only corelay and echo keep to one, as they always do.")
    if facts["troubles"]:
        out += ["", "Failed runs:", "", *(f"- {trouble}" for trouble in facts["troubles"])]
    rows = list(summary(samples))
    if len(rows) > 2:
        out += ["", *rows, "", NOTES.rstrip()]
    out += ["", *(f"- {name}: {version}" for name, version in facts["versions"].items())]
    for name, by_proxy in samples.items():
        out += ["", f"## {name}: {loads.LOADS[name].about}", "", *details(options, name, by_proxy)]
    return "\n".join(out) + "\n"


def details(options, name, by_proxy):
    load = loads.LOADS[name]
    command = load.said(options.requests)
    requests = [sample.requests for many in by_proxy.values() for sample in there(many)]
    if command and requests:
        yield from [f"`{command}`, {requests[0]:,} requests a run", ""]
    yield from table(load, by_proxy)
    lines = list(comparison(load, by_proxy))
    yield from ["", *lines] if lines else []


def write(options, samples, facts, started, markdown):
    """The record: the text with the configurations, and all samples as JSON."""
    directory = HERE / "record"
    directory.mkdir(exist_ok=True)
    stem = f"{started:%Y-%m-%d}-{options.record}"
    configs = "".join(f"\n### {name}\n\n```\n{body}```\n" for name, body in
                      facts["configs"].items())
    again = f"perf/compare --rounds {options.rounds} --requests {options.requests}"
    again += f" --loads {','.join(options.loads)}" + (" --pin" if options.pin else "")
    again += f" --proxies {','.join(options.proxies)}" if options.proxies else ""
    again += f" --corelay-proxy '{options.corelay_proxy}'" if options.corelay_proxy else ""
    page = directory / f"{stem}.md"
    page.write_text(f"{markdown}\n## Again\n\n`{again}`\n{configs}", encoding="utf-8")
    raw = {name: {proxy: [sample and dataclasses.asdict(sample) for sample in many]
                  for proxy, many in by_proxy.items()} for name, by_proxy in samples.items()}
    data = directory / f"{stem}.json"
    document = {"facts": facts, "started": started.isoformat(), "command": again, "samples": raw}
    data.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return [page.relative_to(HERE.parent), data.relative_to(HERE.parent)]
