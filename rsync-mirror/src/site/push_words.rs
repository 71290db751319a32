//! The words with which mirrors push each other over ssh (spec 11 §2.2).

/// What a push says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PushWords {
    /// The archive that has news, if it is named.
    archive: Option<String>,
}

/// Why a push is not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PushError {
    /// A word is unknown.
    #[error(
        "{0:?} is no word of a push: sync:all, sync:stage1, sync:stage2, sync:mhop, sync:callback, \
         sync:archive:NAME"
    )]
    Unknown(String),
    /// The key may not push this archive.
    #[error("this key may not trigger {0:?}")]
    Forbidden(String),
    /// No job is meant.
    #[error("no job is named: give --allow JOB, or push with sync:archive:NAME")]
    NoJob,
}

impl PushWords {
    /// Reads the command that the other side sent, then the words of our command line, which win.
    ///
    /// Both stages of a job belong to one run here, so a push of either starts the whole; a push that
    /// comes during the run makes one more.
    ///
    /// # Errors
    /// [`PushError::Unknown`] for a word that is none.
    pub fn parse(original: Option<&str>, own: &[String]) -> Result<Self, PushError> {
        let sent = original.unwrap_or_default().split_whitespace();
        let mut words = Self::default();
        for word in sent.chain(own.iter().map(String::as_str)) {
            match word.split_once("sync:archive:") {
                // What could lead out of a directory is not part of a name.
                Some(("", name)) => words.archive = Some(name.replace(['/', '.'], "")),
                _ if matches!(
                    word,
                    "sync:stage1" | "sync:stage2" | "sync:all" | "sync:mhop" | "sync:callback"
                ) => {}
                _ => return Err(PushError::Unknown(word.to_owned())),
            }
        }
        Ok(words)
    }

    /// The jobs that are meant, of those that are allowed; without a list every job is.
    ///
    /// # Errors
    /// [`PushError`] if none is meant, or another one.
    pub fn jobs(&self, allowed: &[String]) -> Result<Vec<String>, PushError> {
        match (&self.archive, allowed.first()) {
            (Some(name), None) => Ok(vec![name.clone()]),
            (Some(name), Some(_)) if allowed.contains(name) => Ok(vec![name.clone()]),
            (Some(name), Some(_)) => Err(PushError::Forbidden(name.clone())),
            (None, Some(first)) => Ok(vec![first.clone()]),
            (None, None) => Err(PushError::NoJob),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(original: &str, own: &[&str], allowed: &[&str]) -> Result<Vec<String>, PushError> {
        let list = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        PushWords::parse(Some(original), &list(own))?.jobs(&list(allowed))
    }

    #[test]
    fn words_name_a_job_and_ours_win() {
        assert_eq!(jobs("sync:all sync:archive:debian", &[], &[]), Ok(vec!["debian".to_owned()]));
        assert_eq!(jobs("sync:archive:debian", &["sync:archive:ubuntu"], &[]), Ok(vec!["ubuntu".to_owned()]));
        assert_eq!(jobs("sync:stage1 sync:mhop", &[], &["debian", "b"]), Ok(vec!["debian".to_owned()]));
        assert_eq!(jobs("sync:archive:../de/bian", &[], &[]), Ok(vec!["debian".to_owned()]));
    }

    #[test]
    fn what_is_not_allowed_or_no_word_is_refused() {
        assert_eq!(jobs("sync:archive:c", &[], &["a"]), Err(PushError::Forbidden("c".to_owned())));
        assert_eq!(jobs("rm -rf /", &[], &["a"]), Err(PushError::Unknown("rm".to_owned())));
        assert_eq!(jobs("sync:all", &[], &[]), Err(PushError::NoJob));
        assert_eq!(jobs("xsync:archive:a", &[], &[]), Err(PushError::Unknown("xsync:archive:a".to_owned())));
    }
}
