//! Texts of guests, records and databases as people see them: each stays in its place and commands no
//! terminal.

use serde_json::{Map, Value};

use super::TIME;
use crate::cli::{fields_text, table_text};
use crate::message::{one_line, shown_json, shown_lines};
use crate::telemetry::tests::logged;

#[test]
fn no_text_commands_the_terminal_or_leaves_its_place() {
    bolero::check!().with_test_time(TIME).with_type::<(String, String, Vec<u8>)>().for_each(
        |(first, second, bytes)| {
            // Valid text has few of the characters that matter: of bytes, each is one of the first 256.
            let third: String = bytes.iter().copied().map(char::from).collect();
            let texts = [first, second, &third];
            for text in texts {
                shown(text);
            }
            placed(first, &third);
        },
    );
}

fn is_harmless(text: &str) -> bool {
    !text.chars().any(|character| (character.is_control() && character != '\n') || character == '\u{202e}')
}

fn shown(text: &str) {
    let line = one_line(text);
    assert!(is_harmless(&line) && !line.contains('\n'), "{line:?}");
    assert!(is_harmless(&shown_lines(text).replace('\t', "")));
    let value = Value::String(text.to_owned());
    let json = serde_json::to_string_pretty(&[&value]).unwrap();
    assert!(is_harmless(&shown_json(&json)));
    assert_eq!(serde_json::from_str::<Vec<Value>>(&shown_json(&json)).unwrap(), [value]);
}

fn placed(first: &str, second: &str) {
    let cells = vec![vec![first.to_owned(), second.to_owned()], vec![second.to_owned(), "end".to_owned()]];
    let table = table_text(&["KEY", "ERROR"], cells);
    assert!(is_harmless(&table) && table.lines().count() <= 3, "{table:?}");
    let fields = [("key", first), ("type", second), ("zz", "end")];
    let fields: Map<String, Value> =
        fields.into_iter().map(|(name, text)| (name.to_owned(), Value::from(text))).collect();
    let fields = fields_text(&Value::Object(fields));
    let begun = fields.lines().filter(|line| !line.starts_with(' ')).count();
    assert!(is_harmless(&fields.replace('\t', "")) && begun == 3, "{fields:?}");
    let event = logged(second, first);
    assert!(is_harmless(&event) && event.matches('\n').count() == 1, "{event:?}");
}
