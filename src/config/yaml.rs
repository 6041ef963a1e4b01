//! As much of YAML as nutcracker.yml has: mappings, lists, and scalars as text.
//!
//! twemproxy looks at the text of a scalar, not at what YAML would take it for: `redis_auth: 007`
//! is a password of three digits. So the parser's events are used, not its values. Anchors,
//! aliases, tags and further documents are refused, as twemproxy refuses them. No recursion.

use saphyr_parser::{Event, Parser};

/// A value and its line, from 1.
#[derive(Debug, PartialEq)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug, PartialEq)]
pub(super) enum Value {
    /// Empty if nothing is written.
    Scalar(String),
    List(Vec<Node>),
    /// In the file's order, keys may repeat.
    Map(Vec<(Node, Node)>),
}

/// Reads one document; `None` if the text has none.
///
/// # Errors
/// The line and what is wrong there.
pub(super) fn parse(text: &str) -> Result<Option<Node>, (usize, String)> {
    let mut reader = Reader::default();
    // At the end of the text the parser counts one line more than there are.
    let last = text.lines().count().max(1);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            (error.marker().line().min(last), format!("this is no YAML: {}", error.info()))
        })?;
        let line = span.start.line().min(last);
        reader.event(event, line).map_err(|why| (line, why.to_owned()))?;
    }
    Ok(reader.root)
}

#[derive(Default)]
struct Reader {
    /// Collections that are open, the outermost first; a map may have a key without a value.
    open: Vec<(Node, Option<Node>)>,
    root: Option<Node>,
}

impl Reader {
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<(), &'static str> {
        match event {
            Event::Alias(_) => Err("aliases are not read"),
            Event::Scalar(_, _, anchor, tag) if anchor != 0 || tag.is_some() => Err(NO_MARKS),
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag)
                if anchor != 0 || tag.is_some() =>
            {
                Err(NO_MARKS)
            }
            Event::Scalar(text, ..) => {
                self.value(Node { line, value: Value::Scalar(text.into_owned()) })
            }
            Event::SequenceStart(..) => self.start(line, Value::List(Vec::new())),
            Event::MappingStart(..) => self.start(line, Value::Map(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some((node, _)) => self.value(node),
                None => Err("a collection ends that never began"),
            },
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn start(&mut self, line: usize, value: Value) -> Result<(), &'static str> {
        if self.open.len() >= DEPTH_MAX {
            return Err("this is nested deeper than any nutcracker.yml");
        }
        self.open.push((Node { line, value }, None));
        Ok(())
    }

    fn value(&mut self, node: Node) -> Result<(), &'static str> {
        match self.open.last_mut() {
            None if self.root.is_some() => return Err("a second document is not read"),
            None => self.root = Some(node),
            Some((Node { value: Value::List(items), .. }, _)) => items.push(node),
            Some((Node { value: Value::Map(entries), .. }, key)) => match key.take() {
                None => *key = Some(node),
                Some(key) => entries.push((key, node)),
            },
            Some(_) => return Err("a scalar holds no values"),
        }
        Ok(())
    }
}

const NO_MARKS: &str = "anchors and tags are not read";
/// A file is a mapping of pools, each a mapping, in it a list: 3, and room for a clear complaint.
const DEPTH_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(line: usize, text: &str) -> Node {
        Node { line, value: Value::Scalar(text.into()) }
    }

    #[test]
    fn scalars_stay_text_and_lines_are_known() {
        let root = parse("a:\n  b: 007\n  c: 'x'\n  d:\n  e: ~\n  f: ''\n").unwrap().unwrap();
        let Value::Map(pools) = root.value else { panic!() };
        let Value::Map(entries) = &pools[0].1.value else { panic!() };
        assert_eq!(entries[0], (scalar(2, "b"), scalar(2, "007")));
        assert_eq!(entries[1], (scalar(3, "c"), scalar(3, "x")));
        assert_eq!(entries[2].1.value, Value::Scalar(String::new()));
        assert_eq!(entries[3].1.value, Value::Scalar("~".into()));
        assert_eq!(entries[4].1.value, Value::Scalar(String::new()));
    }

    #[test]
    fn what_twemproxy_refuses_is_refused() {
        for bad in ["a: &x b\nc: *x\n", "a: !!int 5\n", "a: b\n---\nc: d\n", "a: [\n"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
        // The line is one of the file's, also where the parser has come to its end.
        for (text, line) in [("a: b\n{a: {a: ", 2), ("a: b\n---\nb: c", 3)] {
            assert_eq!(parse(text).map_err(|(line, _)| line), Err(line), "{text}");
        }
        assert_eq!(parse(""), Ok(None));
        assert_eq!(parse("# nothing\n"), Ok(None));
    }
}
