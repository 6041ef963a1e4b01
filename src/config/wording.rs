//! How values, types and units of the file are put into words.

use toml::de::DeValue;

/// The number, if it is a whole one.
pub(super) fn whole(value: &DeValue<'_>) -> Option<i128> {
    let integer = value.as_integer()?;
    i128::from_str_radix(integer.as_str(), integer.radix()).ok()
}

/// `one of a, b, c`.
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [only] => format!("\"{only}\""),
        words => format!("one of {}", words.join(", ")),
    }
}

/// A scalar as it would be written.
pub(super) fn shown(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(format!("\"{text}\"")),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

pub(super) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The unit that a key's name ends with.
pub(super) fn unit(name: &str) -> &'static str {
    if name.ends_with("_ms") {
        " of milliseconds"
    } else if name.ends_with("_us") {
        " of microseconds"
    } else if name.contains("_bytes") {
        " of bytes"
    } else {
        ""
    }
}

/// What is unknown when a choice is: `log_level` is a log level.
pub(super) fn noun(name: &str) -> String {
    name.replace('_', " ")
}

/// Keys of nutcracker.yml that someone may write here.
pub(super) const FROM_NUTCRACKER: [(&str, &str); 8] = [
    ("servers", "a list of [[pool.shard]]"),
    ("redis_auth", "password in [pool.auth] and [pool.backend_auth]"),
    ("redis_db", "database"),
    ("server_connections", "lanes_per_node"),
    ("client_connections", "client_connections_max"),
    ("tcpkeepalive", "tcp_keepalive"),
    ("redis", "not needed"),
    ("auto_eject_hosts", "not offered"),
];
