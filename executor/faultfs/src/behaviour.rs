//! What a file does, read from its name.

use std::time::Duration;

/// How long a file is that does not say.
const SIZE_DEFAULT: u64 = 1 << 20;

/// What a file does. The words of its name:
///
/// | word | what |
/// |---|---|
/// | `size=N` | `N` bytes long; 1 MiB without it |
/// | `from=NAME` | its bytes, and size, are those of the file `NAME` in the backing folder |
/// | `direct` | reads bypass the page cache |
/// | `id=X` | nothing; tells files apart |
/// | `eio`, `eio=N` | reads that reach behind byte `N` (0) fail with `EIO` |
/// | `eintr`, `eintr=N` | the first `N` reads (all) fail with `EINTR` |
/// | `eagain`, `eagain=N` | the same with `EAGAIN` |
/// | `never`, `never=N` | reads that reach behind byte `N` are not answered until released |
/// | `reverse=N` | reads are answered when `N` are there, the last one first |
/// | `slow=N` | reads are answered after `N` ms |
/// | `short=N` | a read is answered with `N` bytes at most |
/// | `stat=N`, `stat=eio`, `stat=never` | what asking for the size comes to |
/// | `open=eio`, `open=eacces`, `open=never` | what opening comes to |
/// | `enospc`, `enospc=N` | writes that reach behind byte `N` fail with `ENOSPC` |
/// | `write=eio`, `write=never` | all writes do |
/// | `fsync=eio`, `fsync=never` | what a sync comes to |
/// | `close=eio`, `close=never` | what closing comes to |
/// | `close=ecanceled` | closing fails with `ECANCELED`, when it is released |
/// | `poll=never` | whether it is ready is not answered; else the file system has no poll(2) of its own |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Behaviour {
    /// How long the file is; ignored where `from` is given.
    pub size: u64,
    /// The file of the backing folder that has the bytes.
    pub from: Option<String>,
    /// Whether reads bypass the page cache.
    pub direct: bool,
    /// What is wrong with reads.
    pub read: ReadFault,
    /// How long a read takes.
    pub slow: Duration,
    /// How many bytes a read is answered with at most.
    pub short: Option<usize>,
    /// What is wrong with the size.
    pub stat: StatFault,
    /// What is wrong with opening.
    pub open: OpenFault,
    /// What is wrong with writes.
    pub write: WriteFault,
    /// What is wrong with syncs.
    pub fsync: OpenFault,
    /// What is wrong with closing.
    pub close: OpenFault,
    /// What is wrong with asking whether it is ready.
    pub poll: OpenFault,
}

/// What is wrong with reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadFault {
    /// Nothing.
    #[default]
    None,
    /// `EIO` behind this byte.
    Eio(u64),
    /// `EINTR`, this many times.
    Eintr(u64),
    /// `EAGAIN`, this many times.
    Eagain(u64),
    /// No answer behind this byte.
    Never(u64),
    /// Answers come for this many together, the last one first.
    Reverse(usize),
}

/// What is wrong with the size of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatFault {
    /// Nothing.
    #[default]
    None,
    /// It is said to be this.
    Size(u64),
    /// `EIO`.
    Eio,
    /// No answer.
    Never,
}

/// What is wrong with opening, closing, a sync or a poll.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OpenFault {
    /// Nothing.
    #[default]
    None,
    /// `EIO`.
    Eio,
    /// `EACCES`.
    Eacces,
    /// `ECANCELED`, when it is released; of closing alone.
    Ecanceled,
    /// No answer.
    Never,
}

/// What is wrong with writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteFault {
    /// Nothing.
    #[default]
    None,
    /// `ENOSPC` behind this byte.
    Enospc(u64),
    /// `EIO`.
    Eio,
    /// No answer.
    Never,
}

impl Behaviour {
    /// Reads a name. `None` when it has a word that means nothing.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let mut behaviour = Self {
            size: SIZE_DEFAULT,
            ..Self::default()
        };
        for word in name.split(',') {
            behaviour.word(word)?;
        }
        Some(behaviour)
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (word, None),
        };
        let number = || value.map(str::parse::<u64>).transpose().ok();
        let needed = || number()?;
        match key {
            "id" => {}
            "size" => self.size = needed()?,
            "from" => self.from = Some(value?.to_owned()),
            "direct" if value.is_none() => self.direct = true,
            "eio" => self.read = ReadFault::Eio(number()?.unwrap_or(0)),
            "eintr" => self.read = ReadFault::Eintr(number()?.unwrap_or(u64::MAX)),
            "eagain" => self.read = ReadFault::Eagain(number()?.unwrap_or(u64::MAX)),
            "never" => self.read = ReadFault::Never(number()?.unwrap_or(0)),
            "reverse" => self.read = ReadFault::Reverse(usize::try_from(needed()?).ok()?),
            "slow" => self.slow = Duration::from_millis(needed()?),
            "short" => self.short = Some(usize::try_from(needed()?).ok()?),
            "stat" => {
                self.stat = match value? {
                    "eio" => StatFault::Eio,
                    "never" => StatFault::Never,
                    size => StatFault::Size(size.parse().ok()?),
                };
            }
            "open" => self.open = OpenFault::parse(value?)?,
            "fsync" => self.fsync = OpenFault::parse(value?)?,
            "close" if value == Some("ecanceled") => self.close = OpenFault::Ecanceled,
            "close" => self.close = OpenFault::parse(value?)?,
            "poll" => self.poll = OpenFault::parse(value?)?,
            "enospc" => self.write = WriteFault::Enospc(number()?.unwrap_or(0)),
            "write" => {
                self.write = match value? {
                    "eio" => WriteFault::Eio,
                    "never" => WriteFault::Never,
                    _ => return None,
                };
            }
            _ => return None,
        }
        Some(())
    }
}

impl OpenFault {
    fn parse(value: &str) -> Option<Self> {
        match value {
            "eio" => Some(Self::Eio),
            "eacces" => Some(Self::Eacces),
            "never" => Some(Self::Never),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_any_order() {
        let read = Behaviour::parse("direct,eio=4096,size=65536,slow=20,id=7").unwrap();
        let expected = Behaviour {
            size: 65_536,
            direct: true,
            read: ReadFault::Eio(4096),
            slow: Duration::from_millis(20),
            ..Behaviour::default()
        };
        assert_eq!(read, expected);
        assert_eq!(Behaviour::parse("id=plain").unwrap().size, SIZE_DEFAULT);
    }

    #[test]
    fn what_means_nothing_is_no_file() {
        for name in [
            "",
            "eoi",
            "eio=x",
            "size",
            "size=",
            "open=maybe",
            "open=ecanceled",
            "direct=1",
            "from",
        ] {
            assert_eq!(Behaviour::parse(name), None, "{name}");
        }
    }
}
