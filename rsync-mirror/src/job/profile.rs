//! Two-stage profiles: what waits for the second stage (spec 11 §2.2).

use serde::{Deserialize, Serialize};

/// Which files the first stage leaves for the second: those that name others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Debian archives, as ftpsync does it today.
    Debian,
    /// Debian archives, as it was done before.
    DebianOldstyle,
    /// Filter options of rsync, in order.
    Own(Vec<String>),
}

const DEBIAN: &[&str] = &[
    "--include=*.diff/",
    "--include=by-hash/",
    "--exclude=*.diff/Index",
    "--exclude=Contents*",
    "--exclude=Packages*",
    "--exclude=Sources*",
    "--exclude=Release*",
    "--exclude=InRelease",
    "--exclude=i18n/*",
    "--exclude=dep11/*",
    "--exclude=installer-*/current",
    "--exclude=ls-lR*",
];

const DEBIAN_OLDSTYLE: &[&str] = &[
    "--exclude=Packages*",
    "--exclude=Sources*",
    "--exclude=Release*",
    "--exclude=InRelease",
    "--exclude=i18n/*",
    "--exclude=ls-lR*",
    "--exclude=dep11/*",
];

impl Profile {
    /// rsync's options for the first stage.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        let words = match self {
            Self::Debian => DEBIAN,
            Self::DebianOldstyle => DEBIAN_OLDSTYLE,
            Self::Own(options) => return options.clone(),
        };
        words.iter().map(ToString::to_string).collect()
    }
}
