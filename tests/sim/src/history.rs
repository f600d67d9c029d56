//! History of a run, in lines for people: time, host, event, and the commands that followed.

mod commands;
mod events;

pub(crate) use commands::{committed, task};
pub(crate) use events::event;

use std::collections::BTreeMap;

use mailroom_core::handler_machine::command::Command;

use crate::guest::{Effects, KeyState};

/// Number of times that the same is shown.
const REPEATED_MAX: u32 = 8;

/// Tells whether nothing came of it: attempts to take lanes, and looks for what is due.
fn is_idle(said: &str) -> bool {
    let empty = said.ends_with("]:") || said.contains(": [] ") || said.ends_with(' ');
    let renews = said.contains(" session renewed ") && !said.contains("; ");
    empty
        || renews
        || said.contains("tick → take")
        || said.contains("tick → adopt")
        || said.contains("tick → read-due")
}

/// Lines, where they are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    lines: Option<Vec<String>>,
    now: u64,
}

impl History {
    pub(crate) fn new(is_on: bool) -> Self {
        Self { lines: is_on.then(Vec::new), now: 0 }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    pub(crate) fn time(&mut self, now: u64) {
        // The model's clock begins at a large number.
        self.now = now % (1 << 40);
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{now:>7} {}", line()));
        }
    }

    /// Notes what there is to say, if anything.
    pub(crate) fn note_some(&mut self, line: impl FnOnce() -> Option<String>) {
        if self.is_on()
            && let Some(line) = line()
        {
            self.note(|| line);
        }
    }

    /// An event and what its machine wanted done about it.
    pub(crate) fn fed(&mut self, host: usize, event: &str, commands: &[Command<KeyState, Effects>]) {
        let quiet = event == "tick" || event.starts_with("looked") || event.starts_with("session");
        if quiet && commands.is_empty() {
            return;
        }
        let commands: Vec<String> = commands.iter().map(commands::command).collect();
        self.note(|| {
            let arrow = if commands.is_empty() { "" } else { " → " };
            format!("h{host} {event}{arrow}{}", commands.join("; "))
        });
    }

    /// Gives the lines; what is said again and again, as by a machine that waits, is left out after a while.
    pub(crate) fn into_lines(self) -> Vec<String> {
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        let mut kept = Vec::new();
        let mut skips = false;
        for line in self.lines.unwrap_or_default() {
            let said = line.trim_start().split_once(' ').map_or("", |(_, said)| said);
            let words: String = said.chars().filter(|sign| !sign.is_ascii_digit()).collect();
            let count = seen.entry(words).or_default();
            *count += 1;
            if *count <= REPEATED_MAX || said.starts_with("BREACH") || !is_idle(said) {
                kept.push(line);
                skips = false;
            } else if !skips {
                kept.push("        …".to_owned());
                skips = true;
            }
        }
        kept
    }
}
