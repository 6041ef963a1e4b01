//! Prometheus' older text format (0.0.4), written from OpenMetrics text: what every scraper reads
//! that does not ask for OpenMetrics, and what a person sees.
//!
//! The samples are the same. There a metric is called as its samples are, so that a counter's name
//! ends with `_total` in its head too; infos are gauges; units and the end mark do not exist.

/// The content type of [`plain_text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `openmetrics` is a whole exposition, each metric's HELP before its TYPE.
pub fn plain_text(openmetrics: &str) -> String {
    let mut out = String::with_capacity(openmetrics.len());
    let mut help = "";
    for line in openmetrics.lines() {
        let Some(head) = line.strip_prefix("# ") else {
            push_line(&mut out, &[line]);
            continue;
        };
        let mut words = head.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("HELP"), Some(_), Some(text)) => help = text,
            (Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", kind),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    kind => ("", kind),
                };
                push_line(&mut out, &["# HELP ", name, suffix, " ", std::mem::take(&mut help)]);
                push_line(&mut out, &["# TYPE ", name, suffix, " ", kind]);
            }
            _ => {} // UNIT, EOF
        }
    }
    out
}

fn push_line(out: &mut String, parts: &[&str]) {
    parts.iter().for_each(|part| out.push_str(part));
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_named_as_their_samples() {
        let openmetrics = "# HELP a Counts.\n# TYPE a counter\na_total{b=\"# TYPE c info\"} 1\n\
            # HELP c_bytes Now.\n# TYPE c_bytes gauge\n# UNIT c_bytes bytes\nc_bytes 2\n\
            # HELP d_seconds How long.\n# TYPE d_seconds histogram\n# UNIT d_seconds seconds\n\
            d_seconds_sum 1.5\nd_seconds_count 1\nd_seconds_bucket{le=\"+Inf\"} 1\n\
            # HELP e What.\n# TYPE e info\ne_info{version=\"1\"} 1\n# EOF\n";
        let plain = "# HELP a_total Counts.\n# TYPE a_total counter\na_total{b=\"# TYPE c info\"} 1\n\
            # HELP c_bytes Now.\n# TYPE c_bytes gauge\nc_bytes 2\n\
            # HELP d_seconds How long.\n# TYPE d_seconds histogram\n\
            d_seconds_sum 1.5\nd_seconds_count 1\nd_seconds_bucket{le=\"+Inf\"} 1\n\
            # HELP e_info What.\n# TYPE e_info gauge\ne_info{version=\"1\"} 1\n";
        assert_eq!(plain_text(openmetrics), plain);
    }
}
