//! State as the messages of one key see it: values with their versions, what a call read, and what it wrote.
//!
//! A call notes each value that it asks for, or sets, at the version that it found; a value that is not there has
//! version 0. Loading a scope is not reading it. What was read and not written is checked when the call is settled;
//! what was written is checked by the write.
//!
//! No value is cached beyond its key: each key reads for itself, so that a value is as old as its key's last read, and
//! no cache of a whole host has to be emptied.

use std::collections::BTreeMap;

/// Distinct values of a scope that a call notes one by one; a call that reads more counts as one that read the
/// whole scope, so that what it notes is bounded by what it may load.
const NOTED_MAX: usize = 1_000;

/// Owner of a value: one message key, or the handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The handler's, for the message's key.
    Keyed,
    /// The handler's.
    Shared,
}

impl Scope {
    /// The scope's name in the table.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keyed => "keyed",
            Self::Shared => "shared",
        }
    }
}

/// Identity of a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId {
    /// Scope to which it belongs.
    pub scope: Scope,
    /// The message key as the table has it; empty in the shared scope.
    pub key: Vec<u8>,
    /// Name in the scope.
    pub name: String,
}

impl ValueId {
    fn bytes(&self) -> usize {
        self.key.len() + self.name.len()
    }
}

/// A value as it was found, and as the call left it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// The version found; 0 where there was none.
    version: i64,
    /// Value that a later read sees.
    value: Option<Vec<u8>>,
    /// True if it has to be written.
    dirty: bool,
}

/// Something that a call read and did not write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// One value.
    Value {
        /// Value that was read.
        id: ValueId,
        /// Version that was found; 0 where there was none.
        version: i64,
    },
    /// The names of a scope, and with them all of its values.
    Scope {
        /// Scope that was read.
        scope: Scope,
        /// The message key as the table has it; empty in the shared scope.
        key: Vec<u8>,
        /// Content that was found.
        print: Fingerprint,
    },
}

impl Read {
    /// Gives the bytes that it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let own = match self {
            Self::Value { id, .. } => id.bytes(),
            Self::Scope { key, .. } => key.len(),
        };
        size_of::<Self>() + own
    }
}

/// Fingerprint by which two contents of a scope are told apart: how many values there are, and their versions
/// in one number. Versions are drawn at random, so that no other set of values has the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fingerprint {
    /// Number of values.
    pub count: i64,
    /// The exclusive or of their versions.
    pub versions: i64,
}

impl Fingerprint {
    /// Takes in a value; version 0 is none.
    pub fn add(&mut self, version: i64) {
        self.count += i64::from(version != 0);
        self.versions ^= version;
    }

    /// The scope before `write`.
    pub fn undo(&mut self, write: &Write) {
        self.count += i64::from(write.read.is_some_and(|read| read != 0)) - i64::from(write.written != 0);
        self.versions ^= write.read.unwrap_or_default() ^ write.written;
    }
}

/// One write of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Value that is written.
    pub id: ValueId,
    /// The version that was found; 0 where there was none, `None` where it does not matter what is there.
    pub read: Option<i64>,
    /// The version that it gets; 0 where it is removed.
    pub written: i64,
    /// `None` removes it.
    pub value: Option<Vec<u8>>,
}

impl Write {
    /// Gives the bytes that it takes in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.id.bytes() + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// Reads on which a call that ended relies, and writes that it leaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// The message whose writes it saw, the last one before it in its key; they may not be committed yet.
    pub based_on: Option<i64>,
    /// Reads without a write; empty where the call has no effects.
    pub reads: Vec<Read>,
    /// Values that it wrote.
    pub writes: Vec<Write>,
}

impl Taken {
    /// The same of a call that cannot be repeated: it stands whatever became of what it read, and the last write
    /// of a value wins.
    #[must_use]
    pub fn unchecked(mut self) -> Self {
        self.writes.iter_mut().for_each(|write| write.read = None);
        Self { writes: self.writes, ..Self::default() }
    }
}

/// Reads of the call under way.
#[derive(Debug, Clone, Default)]
struct Noted {
    values: BTreeMap<(Scope, String), i64>,
    whole: Vec<Scope>,
}

impl Noted {
    fn is_whole(&self, scope: Scope) -> bool {
        self.whole.contains(&scope)
    }

    fn whole(&mut self, scope: Scope) {
        if !self.is_whole(scope) {
            self.whole.push(scope);
            self.values.retain(|(of, _), _| *of != scope);
        }
    }
}

/// The state that one key's messages see, one after another, committed or not.
#[derive(Debug, Clone, Default)]
pub struct KeyState {
    /// Message key, as the table has it.
    key: Option<Vec<u8>>,
    loaded: Vec<Scope>,
    entries: BTreeMap<(Scope, String), Entry>,
    noted: Noted,
    /// The last message that wrote something of it.
    writer: Option<i64>,
}

impl KeyState {
    /// Nothing known yet, of the key as the table has it; `None` for messages without a key.
    #[must_use]
    pub fn new(key: Option<Vec<u8>>) -> Self {
        Self { key, ..Self::default() }
    }

    /// The key under which a scope's values stand; `None` for keyed state of a message without a key.
    #[must_use]
    pub fn key(&self, scope: Scope) -> Option<&[u8]> {
        match scope {
            Scope::Shared => Some(&[]),
            Scope::Keyed => self.key.as_deref(),
        }
    }

    /// Tells whether the scope was loaded.
    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        self.loaded.contains(&scope)
    }

    /// Tells whether anything was loaded.
    #[must_use]
    pub fn has_any(&self) -> bool {
        !self.loaded.is_empty()
    }

    /// Takes in all values of a scope, with their names and versions.
    pub fn load(&mut self, scope: Scope, values: impl IntoIterator<Item = (String, i64, Vec<u8>)>) {
        for (name, version, value) in values {
            self.entries.insert((scope, name), Entry { version, value: Some(value), dirty: false });
        }
        if !self.has(scope) {
            self.loaded.push(scope);
        }
    }

    /// All values, in order of scope and name.
    pub fn values(&self) -> impl Iterator<Item = (Scope, &str, &[u8])> {
        let entries = self.entries.iter();
        entries.filter_map(|((scope, name), entry)| Some((*scope, name.as_str(), entry.value.as_deref()?)))
    }

    /// Gives the bytes that its values take in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of_entry = |((_, name), entry): (&(Scope, String), &Entry)| {
            size_of::<((Scope, String), Entry)>() + name.len() + entry.value.as_ref().map_or(0, Vec::len)
        };
        self.entries.iter().map(of_entry).sum()
    }

    /// A call begins: it has read nothing.
    pub fn begin_call(&mut self) {
        self.noted = Noted::default();
    }

    /// Reads a value of a scope that was loaded.
    pub fn get(&mut self, scope: Scope, name: &str) -> Option<Vec<u8>> {
        let id = (scope, name.to_owned());
        let entry = self.entries.get(&id);
        let (version, value) = entry.map_or((0, None), |entry| (entry.version, entry.value.clone()));
        self.note(id, version);
        value
    }

    /// Sets a value of a scope that was loaded, or removes it with `None`. That it was so already is something
    /// read: nothing is written then.
    pub fn put(&mut self, scope: Scope, name: &str, value: Option<Vec<u8>>) {
        let id = (scope, name.to_owned());
        let absent = Entry { version: 0, value: None, dirty: false };
        let entry = self.entries.entry(id.clone()).or_insert(absent);
        entry.dirty |= entry.value != value;
        entry.value = value;
        let version = entry.version;
        self.note(id, version);
    }

    /// Names with `prefix` in byte order after `after`, at most `limit`, of a scope that was loaded.
    pub fn names(&mut self, scope: Scope, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
        self.noted.whole(scope);
        let names = self.entries.iter().filter(|((of, _), entry)| *of == scope && entry.value.is_some());
        let names = names.map(|((_, name), _)| name);
        let wanted =
            names.filter(|name| name.starts_with(prefix) && after.is_none_or(|after| name.as_str() > after));
        wanted.take(limit).cloned().collect()
    }

    fn note(&mut self, id: (Scope, String), version: i64) {
        let scope = id.0;
        if self.noted.is_whole(scope) {
            return;
        }
        self.noted.values.entry(id).or_insert(version);
        if self.noted.values.len() > NOTED_MAX {
            self.noted.whole(scope);
        }
    }

    /// Takes what the call of message `seq` relies on and has written, and counts the writes as made: the next
    /// message of the key sees them, at versions from `draw`, before they are committed. Versions are drawn, not
    /// counted, so that one that was removed and made again is never taken for the one that was read.
    pub fn take(&mut self, seq: i64, has_effects: bool, mut draw: impl FnMut() -> i64) -> Taken {
        let noted = std::mem::take(&mut self.noted);
        let based_on = self.writer;
        let wrote = self.entries.values().any(|entry| entry.dirty);
        let reads = if wrote || has_effects { self.reads(noted) } else { Vec::new() };
        let Self { entries, key, .. } = self;
        let dirty = entries.iter_mut().filter(|(_, entry)| entry.dirty);
        let writes: Vec<Write> = dirty
            .map(|((scope, name), entry)| {
                let read = Some(entry.version);
                entry.version = if entry.value.is_some() { draw() } else { 0 };
                entry.dirty = false;
                let id = id_of(*scope, key.as_deref(), name.clone());
                Write { id, read, written: entry.version, value: entry.value.clone() }
            })
            .collect();
        if wrote {
            self.writer = Some(seq);
        }
        Taken { based_on, reads, writes }
    }

    fn reads(&self, noted: Noted) -> Vec<Read> {
        let whole = noted.whole.into_iter().map(|scope| {
            let mut print = Fingerprint::default();
            let of_scope = self.entries.iter().filter(|((of, _), _)| *of == scope);
            of_scope.for_each(|(_, entry)| print.add(entry.version));
            Read::Scope { scope, key: self.key(scope).unwrap_or_default().to_vec(), print }
        });
        // What the call writes is checked by the write.
        let values =
            noted.values.into_iter().filter(|(id, _)| !self.entries.get(id).is_some_and(|of| of.dirty));
        let values = values.map(|((scope, name), version)| Read::Value {
            id: id_of(scope, self.key.as_deref(), name),
            version,
        });
        whole.chain(values).collect()
    }
}

fn id_of(scope: Scope, key: Option<&[u8]>, name: String) -> ValueId {
    let key = match scope {
        Scope::Keyed => key.unwrap_or_default().to_vec(),
        Scope::Shared => Vec::new(),
    };
    ValueId { scope, key, name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(values: &[(&str, i64, &str)]) -> KeyState {
        let mut state = KeyState::new(Some(b"k".to_vec()));
        let values = values
            .iter()
            .map(|(name, version, value)| ((*name).to_owned(), *version, value.as_bytes().to_vec()));
        state.load(Scope::Keyed, values);
        state.begin_call();
        state
    }

    fn value(name: &str, version: i64) -> Read {
        let id = ValueId { scope: Scope::Keyed, key: b"k".to_vec(), name: name.to_owned() };
        Read::Value { id, version }
    }

    fn drawn(from: i64) -> impl FnMut() -> i64 {
        let mut next = from;
        move || {
            next += 1;
            next
        }
    }

    #[test]
    fn what_was_read_and_not_written_is_a_read_and_absence_is_version_0() {
        let mut state = loaded(&[("a", 7, "1"), ("b", 8, "2"), ("c", 9, "3")]);
        state.get(Scope::Keyed, "a");
        state.get(Scope::Keyed, "b");
        state.get(Scope::Keyed, "none");
        state.put(Scope::Keyed, "b", Some(b"x".to_vec()));
        let taken = state.take(1, false, drawn(100));
        assert_eq!(taken.reads, [value("a", 7), value("none", 0)], "c was loaded, and nobody looked at it");
        assert_eq!(
            taken.writes.iter().map(|write| (write.read, write.written)).collect::<Vec<_>>(),
            [(Some(8), 101)]
        );
    }

    #[test]
    fn a_value_that_is_set_to_what_it_was_is_read() {
        let mut state = loaded(&[("a", 7, "1")]);
        state.put(Scope::Keyed, "a", Some(b"1".to_vec()));
        let taken = state.take(1, true, drawn(100));
        assert_eq!((taken.reads, taken.writes), (vec![value("a", 7)], vec![]));
    }

    #[test]
    fn a_call_without_effects_has_nothing_to_check() {
        let mut state = loaded(&[("a", 7, "1")]);
        state.get(Scope::Keyed, "a");
        assert_eq!(state.take(1, false, drawn(100)), Taken::default());
        state.begin_call();
        assert_eq!(state.take(2, true, drawn(100)).reads, [], "each call has read for itself");
    }

    #[test]
    fn a_follower_names_the_last_message_that_wrote_and_reads_its_versions() {
        let mut state = loaded(&[]);
        state.put(Scope::Keyed, "a", Some(b"1".to_vec()));
        assert_eq!(state.take(1, false, drawn(100)).based_on, None);
        state.begin_call();
        assert_eq!(state.take(2, true, drawn(200)).based_on, Some(1));
        state.begin_call();
        state.get(Scope::Keyed, "a");
        let taken = state.take(3, true, drawn(300));
        assert_eq!((taken.based_on, taken.reads), (Some(1), vec![value("a", 101)]));
    }

    #[test]
    fn names_are_the_whole_scope_as_it_was_before_the_calls_own_writes() {
        let mut state = loaded(&[("a", 7, "1"), ("b", 8, "2")]);
        state.get(Scope::Keyed, "a");
        state.put(Scope::Keyed, "c", Some(b"3".to_vec()));
        assert_eq!(state.names(Scope::Keyed, "", None, 10), ["a", "b", "c"]);
        let taken = state.take(1, false, drawn(100));
        let before = Fingerprint { count: 2, versions: 7 ^ 8 };
        let whole = |print| Read::Scope { scope: Scope::Keyed, key: b"k".to_vec(), print };
        assert_eq!(taken.reads, [whole(before)]);

        state.begin_call();
        state.names(Scope::Keyed, "", None, 10);
        let next = state.take(2, true, drawn(200));
        let mut print = Fingerprint { count: 3, versions: 7 ^ 8 ^ 101 };
        assert_eq!(next.reads, [whole(print)]);
        taken.writes.iter().for_each(|write| print.undo(write));
        assert_eq!(print, before, "without what the message before it wrote");
    }

    #[test]
    fn a_call_that_asks_for_names_without_end_has_read_the_whole_scope() {
        let mut state = loaded(&[("a", 7, "1")]);
        for n in 0..2 * NOTED_MAX {
            state.get(Scope::Keyed, &format!("none-{n}"));
        }
        let print = Fingerprint { count: 1, versions: 7 };
        let whole = Read::Scope { scope: Scope::Keyed, key: b"k".to_vec(), print };
        assert_eq!(state.take(1, true, drawn(100)).reads, [whole]);
    }

    #[test]
    fn a_call_that_cannot_be_repeated_relies_on_nothing() {
        let mut state = loaded(&[("a", 7, "1")]);
        state.get(Scope::Keyed, "b");
        state.put(Scope::Keyed, "a", None);
        let taken = state.take(1, true, drawn(100)).unchecked();
        assert_eq!((taken.based_on, taken.reads), (None, vec![]));
        assert_eq!(taken.writes.iter().map(|write| write.read).collect::<Vec<_>>(), [None]);
    }
}
