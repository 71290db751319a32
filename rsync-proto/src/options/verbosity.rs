//! The words of `--info` and `--debug` and their levels (spec 08 §3).

/// Declares a word enum with its texts in alphabetical order of the C rsync's table.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($variant:ident = $text:literal $help:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $(#[doc = $help] $variant,)* }

        impl $name {
            /// Every word, in the order of the help text.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word as it is typed, in capitals.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What it reports, for the help text.
            #[must_use]
            pub fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }
        }
    };
}

words! {
    /// A word of `--info`.
    Info {
        Backup = "BACKUP" "Backups made",
        Copy = "COPY" "Local copies of basis files",
        Del = "DEL" "Deletions",
        Flist = "FLIST" "File-list building: 1 header, 2 progress",
        Misc = "MISC" "Miscellaneous: 1 and 2",
        Mount = "MOUNT" "Mount points crossed",
        Name = "NAME" "Names: 1 transferred, 2 also unchanged",
        Nonreg = "NONREG" "Skipped non-regular files",
        Progress = "PROGRESS" "Progress: 1 per file, 2 total",
        Remove = "REMOVE" "Removed sources",
        Skip = "SKIP" "Skipped files: 1 with, 2 more",
        Stats = "STATS" "Statistics: 1 short, 2 full, 3 memory",
        Symsafe = "SYMSAFE" "Unsafe symlinks",
    }
}

words! {
    /// A word of `--debug`.
    Debug {
        Acl = "ACL" "Access control lists",
        Backup = "BACKUP" "Backups",
        Bind = "BIND" "Socket binding",
        Chdir = "CHDIR" "Directory changes",
        Connect = "CONNECT" "Connections",
        Cmd = "CMD" "Commands and arguments",
        Del = "DEL" "Deletions",
        Deltasum = "DELTASUM" "Block sums",
        Dup = "DUP" "Weeding of duplicates",
        Exit = "EXIT" "Exits",
        Filter = "FILTER" "Filters",
        Flist = "FLIST" "File lists",
        Fuzzy = "FUZZY" "Fuzzy matches",
        Genr = "GENR" "The generator",
        Hash = "HASH" "Hash tables",
        Hlink = "HLINK" "Hard links",
        Iconv = "ICONV" "Charsets",
        Io = "IO" "Input and output",
        Nstr = "NSTR" "Negotiation strings",
        Own = "OWN" "Owners",
        Proto = "PROTO" "The protocol",
        Recv = "RECV" "The receiver",
        Send = "SEND" "The sender",
        Time = "TIME" "Times",
    }
}

/// Declares the levels of all words of an enum.
macro_rules! levels {
    ($(#[$meta:meta])* $name:ident of $word:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name {
            levels: [u8; $word::ALL.len()],
            /// One bit per word that the user set; `-v` and other defaults leave those alone.
            by_user: u32,
        }

        impl $name {
            /// The level of `word`; 0 is silent.
            #[must_use]
            pub fn level(&self, word: $word) -> u8 {
                self.levels[word as usize]
            }

            /// Whether `word` is at `level` or above.
            #[must_use]
            pub fn at_least(&self, word: $word, level: u8) -> bool {
                self.level(word) >= level
            }

            /// Sets the level of `word`.
            pub fn set(&mut self, word: $word, level: u8) {
                self.levels[word as usize] = level;
            }

            /// Sets the level of `word` so that no default changes it any more.
            pub fn set_by_user(&mut self, word: $word, level: u8) {
                self.set(word, level);
                self.by_user |= 1 << word as u32;
            }

            /// Whether the user set `word`.
            #[must_use]
            pub fn is_by_user(&self, word: $word) -> bool {
                self.by_user & 1 << word as u32 != 0
            }

            /// Raises `word` to `level` unless the user set it.
            pub fn raise(&mut self, word: $word, level: u8) {
                if !self.is_by_user(word) {
                    self.set(word, self.level(word).max(level));
                }
            }
        }
    };
}

levels! {
    /// The level of every `--info` word.
    InfoLevels of Info
}

levels! {
    /// The level of every `--debug` word.
    DebugLevels of Debug
}

impl Default for InfoLevels {
    fn default() -> Self {
        let mut levels = Self { levels: [0; Info::ALL.len()], by_user: 0 };
        levels.set(Info::Nonreg, 1);
        levels
    }
}

impl Default for DebugLevels {
    fn default() -> Self {
        Self { levels: [0; Debug::ALL.len()], by_user: 0 }
    }
}

/// What the first, second... `-v` adds to `--info`.
pub(super) const INFO_BY_VERBOSITY: &[&[(Info, u8)]] = &[
    &[
        (Info::Copy, 1),
        (Info::Del, 1),
        (Info::Flist, 1),
        (Info::Misc, 1),
        (Info::Name, 1),
        (Info::Stats, 1),
        (Info::Symsafe, 1),
    ],
    &[
        (Info::Backup, 1),
        (Info::Misc, 2),
        (Info::Mount, 1),
        (Info::Name, 2),
        (Info::Remove, 1),
        (Info::Skip, 1),
    ],
];

/// What the first, second... `-v` adds to `--debug`.
pub(super) const DEBUG_BY_VERBOSITY: &[&[(Debug, u8)]] = &[
    &[],
    &[
        (Debug::Bind, 1),
        (Debug::Connect, 1),
        (Debug::Cmd, 1),
        (Debug::Del, 1),
        (Debug::Deltasum, 1),
        (Debug::Dup, 1),
        (Debug::Filter, 1),
        (Debug::Flist, 1),
        (Debug::Iconv, 1),
    ],
    &[
        (Debug::Acl, 1),
        (Debug::Backup, 1),
        (Debug::Connect, 2),
        (Debug::Del, 2),
        (Debug::Deltasum, 2),
        (Debug::Exit, 1),
        (Debug::Filter, 2),
        (Debug::Flist, 2),
        (Debug::Fuzzy, 1),
        (Debug::Genr, 1),
        (Debug::Own, 1),
        (Debug::Recv, 1),
        (Debug::Send, 1),
        (Debug::Time, 1),
    ],
    &[
        (Debug::Cmd, 2),
        (Debug::Del, 3),
        (Debug::Deltasum, 3),
        (Debug::Exit, 2),
        (Debug::Flist, 3),
        (Debug::Iconv, 2),
        (Debug::Own, 2),
        (Debug::Proto, 1),
        (Debug::Time, 2),
    ],
    &[
        (Debug::Chdir, 1),
        (Debug::Deltasum, 4),
        (Debug::Flist, 4),
        (Debug::Fuzzy, 2),
        (Debug::Hash, 1),
        (Debug::Hlink, 1),
    ],
];

impl InfoLevels {
    /// Raises the words to what `verbose` times `-v` stands for.
    pub fn raise_to_verbosity(&mut self, verbose: u32) {
        for &(word, level) in INFO_BY_VERBOSITY.iter().take(verbose as usize).copied().flatten() {
            self.raise(word, level);
        }
    }

    /// The `--info` list for a server, of the user's words among `relevant` (spec 01 §3.5 row 21).
    pub(super) fn forwarded(&self, relevant: &[Info]) -> Option<String> {
        let chosen: Vec<Info> = relevant.iter().copied().filter(|&word| self.is_by_user(word)).collect();
        let common = (0..=4_u8)
            .map(|level| (chosen.iter().filter(|&&word| self.level(word) == level).count(), level))
            .max()
            .filter(|&(count, _)| count >= 5 && chosen.len() == relevant.len())
            .map(|(_, level)| level);
        let numbered =
            |name: &str, level: u8| if level == 1 { name.to_owned() } else { format!("{name}{level}") };
        let mut items = Vec::new();
        match common {
            Some(0) => items.push("NONE".to_owned()),
            Some(level) => items.push(numbered("ALL", level)),
            None => {}
        }
        items.extend(
            chosen
                .iter()
                .filter(|&&word| common != Some(self.level(word)))
                .map(|&word| numbered(word.name(), self.level(word))),
        );
        if items.is_empty() { None } else { Some(items.join(",")) }
    }
}

impl DebugLevels {
    /// Raises the words to what `verbose` times `-v` stands for.
    pub fn raise_to_verbosity(&mut self, verbose: u32) {
        for &(word, level) in DEBUG_BY_VERBOSITY.iter().take(verbose as usize).copied().flatten() {
            self.raise(word, level);
        }
    }
}
