//! Which of the two text formats a scraper asks for in its `Accept` header.

/// Whether OpenMetrics is asked for, and not less than plain text. Who asks for neither, or for
/// nothing at all, gets plain text, which everybody reads.
pub(super) fn prefers_openmetrics<'a>(accept: impl Iterator<Item = &'a str>) -> bool {
    let (mut openmetrics, mut plain) = (0, 0);
    for range in accept.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let (mut weight, mut version) = (1_000, None);
        for part in parts {
            match part.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
                Some((name, value)) if name.eq_ignore_ascii_case("q") => {
                    weight = thousandths(value)
                }
                Some((name, value)) if name.eq_ignore_ascii_case("version") => {
                    version = Some(value.trim_matches('"'));
                }
                _ => {}
            }
        }
        let is = |name: &str| kind.eq_ignore_ascii_case(name);
        if is("application/openmetrics-text") && matches!(version, None | Some("1.0.0")) {
            openmetrics = openmetrics.max(weight);
        } else if is("text/plain") && matches!(version, None | Some("0.0.4")) {
            plain = plain.max(weight);
        }
    }
    openmetrics > 0 && openmetrics >= plain
}

/// A weight as HTTP writes it (`0.25`); what is none counts as 0.
fn thousandths(text: &str) -> u32 {
    let weight: f64 = text.parse().unwrap_or(0.0);
    (weight.clamp(0.0, 1.0) * 1_000.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_only_to_those_who_ask_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let newest = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;\
            encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, expected) in [
            (prometheus, true),
            (newest, true),
            ("application/openmetrics-text", true),
            ("Application/OpenMetrics-Text; version=\"1.0.0\"; charset=utf-8", true),
            ("text/plain, application/openmetrics-text", true),
            ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.1", false),
            ("application/openmetrics-text;version=2.0.0", false),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=x", false),
            ("text/plain", false),
            ("text/html,*/*;q=0.8", false),
            ("*/*", false),
            ("", false),
            (";;,=,;q", false),
        ] {
            assert_eq!(prefers_openmetrics([accept].into_iter()), expected, "{accept}");
        }
        assert!(!prefers_openmetrics([].into_iter()));
        let several = ["text/plain;q=0.1", "application/openmetrics-text;q=0.2"];
        assert!(prefers_openmetrics(several.into_iter()), "a header may come in several lines");
    }
}
