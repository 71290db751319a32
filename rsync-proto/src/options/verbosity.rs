//! The words of `--info` and `--debug` and their levels (spec 08 §3).

/// Declares a word enum with its texts in alphabetical order of the C rsync's table.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every word, in the order of the help text.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word as it is typed, in capitals.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

words! {
    /// A word of `--info`.
    Info {
        /// Backups made.
        Backup = "BACKUP",
        /// Local copies of basis files.
        Copy = "COPY",
        /// Deletions.
        Del = "DEL",
        /// File-list building: 1 header, 2 progress.
        Flist = "FLIST",
        /// Miscellaneous: 1 and 2.
        Misc = "MISC",
        /// Mount points crossed.
        Mount = "MOUNT",
        /// Names: 1 transferred, 2 also unchanged.
        Name = "NAME",
        /// Skipped non-regular files.
        Nonreg = "NONREG",
        /// Progress: 1 per file, 2 total.
        Progress = "PROGRESS",
        /// Removed sources.
        Remove = "REMOVE",
        /// Skipped files: 1 with, 2 more.
        Skip = "SKIP",
        /// Statistics: 1 short, 2 full, 3 memory.
        Stats = "STATS",
        /// Unsafe symlinks.
        Symsafe = "SYMSAFE",
    }
}

words! {
    /// A word of `--debug`.
    Debug {
        /// Access control lists.
        Acl = "ACL",
        /// Backups.
        Backup = "BACKUP",
        /// Socket binding.
        Bind = "BIND",
        /// Directory changes.
        Chdir = "CHDIR",
        /// Connections.
        Connect = "CONNECT",
        /// Commands and arguments.
        Cmd = "CMD",
        /// Deletions.
        Del = "DEL",
        /// Block sums.
        Deltasum = "DELTASUM",
        /// Weeding of duplicates.
        Dup = "DUP",
        /// Exits.
        Exit = "EXIT",
        /// Filters.
        Filter = "FILTER",
        /// File lists.
        Flist = "FLIST",
        /// Fuzzy matches.
        Fuzzy = "FUZZY",
        /// The generator.
        Genr = "GENR",
        /// Hash tables.
        Hash = "HASH",
        /// Hard links.
        Hlink = "HLINK",
        /// Charsets.
        Iconv = "ICONV",
        /// Input and output.
        Io = "IO",
        /// Negotiation strings.
        Nstr = "NSTR",
        /// Owners.
        Own = "OWN",
        /// The protocol.
        Proto = "PROTO",
        /// The receiver.
        Recv = "RECV",
        /// The sender.
        Send = "SEND",
        /// Times.
        Time = "TIME",
    }
}

/// The level of every `--info` word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfoLevels {
    levels: [u8; Info::ALL.len()],
}

impl Default for InfoLevels {
    fn default() -> Self {
        let mut levels = Self { levels: [0; Info::ALL.len()] };
        levels.set(Info::Nonreg, 1);
        levels
    }
}

impl InfoLevels {
    /// The level of `word`; 0 is silent.
    #[must_use]
    pub fn level(&self, word: Info) -> u8 {
        self.levels[word as usize]
    }

    /// Whether `word` is at `level` or above.
    #[must_use]
    pub fn at_least(&self, word: Info, level: u8) -> bool {
        self.level(word) >= level
    }

    /// Sets the level of `word`.
    pub fn set(&mut self, word: Info, level: u8) {
        self.levels[word as usize] = level;
    }
}

/// The level of every `--debug` word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DebugLevels {
    levels: [u8; Debug::ALL.len()],
}

impl DebugLevels {
    /// The level of `word`; 0 is silent.
    #[must_use]
    pub fn level(&self, word: Debug) -> u8 {
        self.levels[word as usize]
    }

    /// Whether `word` is at `level` or above.
    #[must_use]
    pub fn at_least(&self, word: Debug, level: u8) -> bool {
        self.level(word) >= level
    }

    /// Sets the level of `word`.
    pub fn set(&mut self, word: Debug, level: u8) {
        self.levels[word as usize] = level;
    }
}
