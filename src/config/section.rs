//! One table of a TOML file, read by the table of keys: unknown keys, wrong types and values out
//! of bounds become complaints, and reading goes on with the default.

use std::cell::{RefCell, RefMut};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::address::{self, Trouble};
use super::complaint::{Complaint, Complaints, nearest};
use super::draft::{At, ListenDraft};
use super::keys::{self, Fallback, Key, Kind, Section};
use super::names::value_of;
use super::wording::{FROM_NUTCRACKER, kind_of, noun, one_of, shown, unit, whole};

/// The file under the reader's finger.
pub(super) struct Source {
    /// Offset of each line's first byte.
    starts: Vec<usize>,
    pub(super) complaints: RefCell<Complaints>,
}

impl Source {
    pub(super) fn new(text: &str, file: &str) -> Source {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect();
        Source { starts, complaints: RefCell::new(Complaints::new(file)) }
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }
}

/// A table of the file and the section it is read as.
pub(super) struct Table<'a, 'i> {
    source: &'a Source,
    table: &'a DeTable<'i>,
    section: Section,
    pub(super) line: usize,
}

impl<'a, 'i> Table<'a, 'i> {
    /// Complains about every key that the section does not have.
    pub(super) fn new(
        source: &'a Source,
        table: &'a DeTable<'i>,
        section: Section,
        line: usize,
    ) -> Table<'a, 'i> {
        let table = Table { source, table, section, line };
        table.refuse_unknown();
        table
    }

    pub(super) fn integer(&self, name: &str) -> u64 {
        let Some(key) = keys::find(self.section, name) else { return 0 };
        let fallback = match key.default {
            Fallback::Integer(value) => value,
            _ => 0,
        };
        match self.value(name) {
            Some(value) => self.integer_of(key, value).unwrap_or(fallback),
            None => fallback,
        }
    }

    pub(super) fn size(&self, name: &str) -> usize {
        usize::try_from(self.integer(name)).unwrap_or(usize::MAX)
    }

    pub(super) fn number(&self, name: &str) -> u32 {
        u32::try_from(self.integer(name)).unwrap_or(u32::MAX)
    }

    /// A number, or `None` for the word "none".
    pub(super) fn integer_or_none(&self, name: &str) -> Option<u64> {
        match self.value(name).map(Spanned::get_ref) {
            Some(DeValue::String(word)) if word == "none" => None,
            _ => Some(self.integer(name)),
        }
    }

    pub(super) fn boolean(&self, name: &str) -> bool {
        let fallback =
            keys::find(self.section, name).is_some_and(|key| key.default == Fallback::Bool(true));
        match self.value(name) {
            None => fallback,
            Some(value) => value.get_ref().as_bool().unwrap_or_else(|| {
                self.wrong_type(name, value, "true or false");
                fallback
            }),
        }
    }

    /// The value of a named choice; `table` holds the names that the key's line lists.
    pub(super) fn choice<T: Copy, const N: usize>(
        &self,
        name: &str,
        table: &[(&'static str, T); N],
    ) -> T {
        let fallback = match keys::find(self.section, name).map(|key| key.default) {
            Some(Fallback::Text(word)) => value_of(table, word).unwrap_or(table[0].1),
            _ => table[0].1,
        };
        let Some(word) = self.text(name) else { return fallback };
        value_of(table, &word.value).unwrap_or_else(|| {
            let known: Vec<&str> = table.iter().map(|(name, _)| *name).collect();
            let mut complaints = self.source.complaints.borrow_mut();
            complaints
                .error(word.line, self.path(name), format!("unknown {}", noun(name)))
                .quoted(&word.value)
                .remedy(format!("use {}", one_of(&known)));
            fallback
        })
    }

    /// A text; its default if it has one; a complaint if it has to be written and is not.
    pub(super) fn text(&self, name: &str) -> Option<At<String>> {
        let key = keys::find(self.section, name)?;
        let Some(value) = self.value(name) else {
            return match key.default {
                Fallback::Text(word) => Some(At { value: word.to_owned(), line: 0 }),
                Fallback::Required => {
                    self.missing(key);
                    None
                }
                _ => None,
            };
        };
        match value.get_ref() {
            DeValue::String(text) => {
                Some(At { value: text.to_string(), line: self.line_of(value) })
            }
            _ => {
                self.wrong_type(name, value, "a text in quotes");
                None
            }
        }
    }

    /// A password: as a text, but not empty.
    pub(super) fn secret(&self, name: &str) -> Option<String> {
        let secret = self.text(name)?;
        if secret.value.is_empty() {
            self.complain(secret.line, name, "an empty password protects nothing").remedy(
                match self.section {
                    Section::Sentinel => "write one, or remove the key",
                    _ => "write one, or remove the table",
                },
            );
            return None;
        }
        Some(secret.value)
    }

    /// An address to listen on; `None` for the word "off".
    pub(super) fn address(&self, name: &str) -> Option<At<ListenDraft>> {
        let text = self.text(name)?;
        if text.value == "off" {
            return None;
        }
        match address::host_port(&text.value) {
            Ok((host, port)) => {
                Some(At { value: ListenDraft::Tcp { host, port }, line: text.line })
            }
            Err(trouble) => {
                self.bad_address(name, &text, trouble);
                None
            }
        }
    }

    /// The path of a unix socket, if it is written.
    pub(super) fn socket(&self, name: &str) -> Option<At<ListenDraft>> {
        let text = self.text(name)?;
        match address::socket_path(&text.value) {
            Ok(path) => Some(At { value: ListenDraft::Unix { path, mode: None }, line: text.line }),
            Err(Trouble { why, .. }) => {
                let remedy = "write an absolute path, as \"/run/corelay/handover.sock\"";
                self.bad_address(name, &text, address::trouble(why, remedy));
                None
            }
        }
    }

    /// One listener or a list of them.
    pub(super) fn listens(&self, name: &str) -> Vec<At<ListenDraft>> {
        let Some(value) = self.value(name) else {
            if let Some(key) = keys::find(self.section, name) {
                self.missing(key);
            }
            return Vec::new();
        };
        let single = std::slice::from_ref(value);
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().as_slice(),
            _ => single,
        };
        let mut listens = Vec::new();
        for item in items {
            let Some(text) = item.get_ref().as_str() else {
                self.wrong_type(name, item, "a text in quotes, or a list of them");
                continue;
            };
            let text = At { value: text.to_owned(), line: self.line_of(item) };
            match address::listen(&text.value) {
                Ok(listen) => listens.push(At { value: listen, line: text.line }),
                Err(trouble) => self.bad_address(name, &text, trouble),
            }
        }
        if items.is_empty() {
            self.complain(self.line_of(value), name, "there is no listener")
                .remedy("write one as \"0.0.0.0:6380\"");
        }
        listens
    }

    /// What is written for `name`.
    pub(super) fn value(&self, name: &str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.table.get(name)
    }

    /// What is written for a key that has to be; a complaint if nothing is.
    pub(super) fn written(&self, name: &str) -> Option<&'a Spanned<DeValue<'i>>> {
        let value = self.value(name);
        if value.is_none()
            && let Some(key) = keys::find(self.section, name)
        {
            self.missing(key);
        }
        value
    }

    /// A table that stands in a list of this one.
    pub(super) fn inner<'b>(
        &self,
        table: &'b DeTable<'i>,
        section: Section,
        line: usize,
    ) -> Table<'b, 'i>
    where
        'a: 'b,
    {
        Table::new(self.source, table, section, line)
    }

    /// The tables inside this one that are written as `[[…name]]`.
    pub(super) fn tables(&self, name: &str, header: &str) -> Vec<(&'a DeTable<'i>, usize)> {
        let Some(value) = self.value(name) else { return Vec::new() };
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().as_slice(),
            _ => &[],
        };
        let tables: Vec<_> = items
            .iter()
            .filter_map(|item| Some((item.get_ref().as_table()?, self.line_of(item))))
            .collect();
        if tables.is_empty() || tables.len() < items.len() {
            self.complain(self.line_of(value), name, "this is no list of tables")
                .remedy(format!("begin each with {header}"));
        }
        tables
    }

    /// The table inside this one that is written as `[…name]`.
    pub(super) fn table(&self, name: &str, section: Section) -> Option<Table<'a, 'i>> {
        let value = self.value(name)?;
        let line = self.line_of(value);
        match value.get_ref() {
            DeValue::Table(table) => Some(Table::new(self.source, table, section, line)),
            _ => {
                self.complain(line, name, "this is no table")
                    .remedy(format!("begin it with {}", section.header()));
                None
            }
        }
    }

    /// The lines of all keys that are written.
    pub(super) fn lines(&self) -> Vec<(&'static str, usize)> {
        let written = keys::of(self.section)
            .filter_map(|key| Some((key.name, self.line_of(self.value(key.name)?))));
        written.collect()
    }

    pub(super) fn line_of<T>(&self, value: &Spanned<T>) -> usize {
        self.source.line(value.span().start)
    }

    /// An error about a key of this table; what it returns takes value and remedy.
    pub(super) fn complain(
        &self,
        line: usize,
        name: &str,
        why: impl Into<String>,
    ) -> RefMut<'_, Complaint> {
        let path = self.path(name);
        RefMut::map(self.source.complaints.borrow_mut(), |all| all.error(line, path, why))
    }

    pub(super) fn wrong_type(&self, name: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        let secret = keys::find(self.section, name).is_some_and(|k| matches!(k.kind, Kind::Secret));
        let why = format!("expected {expected}, found {}", kind_of(value.get_ref()));
        let mut complaint = self.complain(self.line_of(value), name, why);
        if let (Some(shown), false) = (shown(value.get_ref()), secret) {
            complaint.value(shown);
        }
    }

    fn integer_of(&self, key: &Key, value: &Spanned<DeValue<'_>>) -> Option<u64> {
        let (min, max) = match key.kind {
            Kind::Integer { min, max } | Kind::IntegerOrNone { min, max } => (min, max),
            _ => (0, u64::MAX),
        };
        let or_none = matches!(key.kind, Kind::IntegerOrNone { .. });
        let Some(number) = whole(value.get_ref()) else {
            let expected = format!("a whole number{}", unit(key.name));
            let expected = if or_none { expected + " or \"none\"" } else { expected };
            self.wrong_type(key.name, value, &expected);
            return None;
        };
        match u64::try_from(number) {
            Ok(number) if (min..=max).contains(&number) => Some(number),
            _ => {
                let why = format!("out of bounds, {min} to {max}{}", unit(key.name));
                let mut complaint = self.complain(self.line_of(value), key.name, why);
                complaint.value(number);
                if or_none && number <= 0 {
                    complaint.remedy("write \"none\" to wait for ever");
                } else if number < i128::from(min) {
                    complaint.remedy(format!("write at least {min}"));
                } else {
                    complaint.remedy(format!("write at most {max}"));
                }
                None
            }
        }
    }

    fn missing(&self, key: &Key) {
        let what = self.section.header();
        self.complain(self.line, key.name, "has to be written")
            .remedy(format!("add it to this {what}: {}", key.help));
    }

    fn bad_address(&self, name: &str, text: &At<String>, trouble: Trouble) {
        self.complain(text.line, name, trouble.why).quoted(&text.value).remedy(trouble.remedy);
    }

    fn refuse_unknown(&self) {
        for name in self.table.keys() {
            let word: &str = name.get_ref();
            if keys::find(self.section, word).is_some() || self.section.tables().contains(&word) {
                continue;
            }
            let line = self.line_of(name);
            self.complain(line, word, "unknown key").remedy(self.advice(word));
        }
    }

    /// What to do about an unknown key.
    fn advice(&self, word: &str) -> String {
        let here = keys::of(self.section).map(|key| key.name);
        if let Some(near) = nearest(word, here.chain(self.section.tables().iter().copied())) {
            return format!("did you mean {near}?");
        }
        if let Some(key) = keys::KEYS.iter().find(|key| key.name == word) {
            return format!("it belongs into {}", key.section.header());
        }
        if let Some((_, ours)) = FROM_NUTCRACKER.iter().find(|(theirs, _)| *theirs == word) {
            return format!("nutcracker's {word} is {ours} here");
        }
        "remove it, or see config/corelay.toml for every key".to_owned()
    }

    fn path(&self, name: &str) -> String {
        format!("{}.{name}", self.section.path())
    }
}
