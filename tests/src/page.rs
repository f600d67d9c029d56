//! Pages of the documentation: commands that they tell a reader to type, and other fenced text.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::paths;

/// Words after a fence that stand for a shell.
const SHELLS: [&str; 4] = ["sh", "bash", "shell", "console"];

/// A page of the repository.
#[derive(Debug)]
pub struct Page {
    /// Path from the root of the repository.
    pub path: String,
    text: String,
}

/// A command that a page tells to type, without its comment; on one line, but for a text that it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// The heading above it.
    pub heading: String,
    /// Command as it is typed.
    pub command: String,
}

/// A block of fenced text.
struct Fenced {
    heading: String,
    /// The word after the fence.
    language: String,
    lines: Vec<String>,
}

impl Page {
    /// Reads a page by its place from the root of the repository.
    ///
    /// # Errors
    /// Where it is not there.
    pub fn read(path: &str) -> Result<Self> {
        let text =
            fs::read_to_string(paths::root().join(path)).with_context(|| format!("cannot read {path}"))?;
        Ok(Self { path: path.to_owned(), text })
    }

    /// Reads all that git has or would take.
    ///
    /// # Errors
    /// Where git cannot list them.
    pub fn all() -> Result<Vec<Self>> {
        let mut git = Command::new("git");
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"]);
        let listed = git.current_dir(paths::root()).output()?;
        ensure!(listed.status.success(), "git lists no files: {listed:?}");
        let listed = String::from_utf8(listed.stdout)?;
        // A file may be deleted and still be in the index.
        let there = listed.split_terminator('\0').filter(|path| paths::root().join(path).exists());
        there.map(Self::read).collect()
    }

    /// All commands, in their order.
    #[must_use]
    pub fn commands(&self) -> Vec<Typed> {
        let blocks = self.blocks().into_iter().filter(|block| SHELLS.contains(&block.language.as_str()));
        blocks.flat_map(|Fenced { heading, lines, .. }| typed(&heading, &lines)).collect()
    }

    /// The first block of a language below a heading.
    #[must_use]
    pub fn fenced(&self, heading: &str, language: &str) -> Option<String> {
        let of = |block: &Fenced| block.heading == heading && block.language == language;
        self.blocks().into_iter().find(of).map(|block| block.lines.join("\n"))
    }

    fn blocks(&self) -> Vec<Fenced> {
        let mut blocks: Vec<Fenced> = Vec::new();
        let (mut above, mut is_fenced) = (String::new(), false);
        for line in self.text.lines() {
            if let Some(language) = line.strip_prefix("```") {
                is_fenced = !is_fenced;
                if is_fenced {
                    let language = language.trim().to_owned();
                    blocks.push(Fenced { heading: above.clone(), language, lines: Vec::new() });
                }
            } else if is_fenced {
                blocks.last_mut().into_iter().for_each(|block| block.lines.push(line.to_owned()));
            } else if let Some(heading) = heading(line) {
                above = heading.to_owned();
            }
        }
        blocks
    }
}

fn heading(line: &str) -> Option<&str> {
    let text = line.trim_start_matches('#');
    (text.len() < line.len()).then(|| text.strip_prefix(' ')).flatten()
}

fn typed(heading: &str, lines: &[String]) -> Vec<Typed> {
    let mut commands = Vec::new();
    let mut begun = String::new();
    let mut lines = lines.iter();
    while let Some(line) = lines.next() {
        let line = line.strip_prefix("$ ").unwrap_or(line);
        if let Some(part) = line.strip_suffix('\\') {
            begun.push_str(&format!("{} ", part.trim()));
            continue;
        }
        let mut command = without_comment(&format!("{begun}{}", line.trim())).to_owned();
        begun.clear();
        if let Some(end) = here_document(&command).map(str::to_owned) {
            for line in lines.by_ref() {
                command.push_str(&format!("\n{line}"));
                if *line == end {
                    break;
                }
            }
        }
        if !command.is_empty() {
            commands.push(Typed { heading: heading.to_owned(), command });
        }
    }
    commands
}

/// The line that ends the text which a command takes from the lines below it, as in `<<'END'`.
fn here_document(command: &str) -> Option<&str> {
    let (_, word) = command.split_once("<<'")?;
    word.strip_suffix('\'')
}

/// A shell's line up to its comment.
fn without_comment(line: &str) -> &str {
    let (mut quote, mut before) = (None, ' ');
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') if before == ' ' => return line.get(..at).unwrap_or_default().trim_end(),
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), close) if open == close => quote = None,
            (_, _) => {}
        }
        before = c;
    }
    line.trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# One\n\n```sh\nmake 'a # b'   # says so\n\n# only a comment\n$ cp a \\\n  b\ncat > c <<'END'\n# d\nEND\n```\n\n\
                        ## Two & three\n\n```toml\nx = 1\n```\n";

    #[test]
    fn a_page_gives_its_commands_and_blocks() {
        let page = Page { path: "page.md".to_owned(), text: TEXT.to_owned() };
        let commands: Vec<_> =
            page.commands().into_iter().map(|typed| (typed.heading, typed.command)).collect();
        let one = |command: &str| ("One".to_owned(), command.to_owned());
        assert_eq!(commands, [one("make 'a # b'"), one("cp a b"), one("cat > c <<'END'\n# d\nEND")]);
        assert_eq!(page.fenced("Two & three", "toml").as_deref(), Some("x = 1"));
    }
}
