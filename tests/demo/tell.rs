//! Output of the demo: a line when something happens, with the time since its start. Colours only on a
//! terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::Instant;

/// Way in which a line stands out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Colour {
    Bold,
    Cyan,
    Green,
    Yellow,
    Red,
    Grey,
}

impl Colour {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Cyan => "36",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Red => "31",
            Self::Grey => "90",
        }
    }
}

/// The narrator.
#[derive(Debug)]
pub(crate) struct Tell {
    begun: Instant,
    coloured: bool,
}

impl Tell {
    /// Counts time from now.
    pub(crate) fn from_now() -> Self {
        Self { begun: Instant::now(), coloured: std::io::stdout().is_terminal() }
    }

    /// Something happened.
    pub(crate) fn event(&self, colour: Colour, text: &str) {
        let time = self.in_colour(Colour::Grey, &format!("{:6.1}s", self.begun.elapsed().as_secs_f64()));
        plain(&format!("{time}  {}", self.in_colour(colour, text)));
    }

    /// More on the line before.
    pub(crate) fn detail(&self, text: &str) {
        plain(&format!("         {}", self.in_colour(Colour::Grey, text)));
    }

    /// The text as the terminal shows it in that colour.
    pub(crate) fn in_colour(&self, colour: Colour, text: &str) -> String {
        if self.coloured { format!("\x1b[{}m{text}\x1b[0m", colour.code()) } else { text.to_owned() }
    }
}

/// A line as it is. Whoever closes our output loses the words, not the check.
pub(crate) fn plain(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}
