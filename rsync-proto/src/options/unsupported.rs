//! Options that are read and forwarded but that this version does not carry out yet.

use super::choice::Batch;
use super::model::TransferOptions;

impl TransferOptions {
    /// The options in use that have no effect yet, as typed; a program refuses them with
    /// [`ExitCode::UNSUPPORTED`](crate::exit::ExitCode::UNSUPPORTED) rather than ignore them.
    #[must_use]
    pub fn unsupported(&self) -> Vec<&'static str> {
        let batch = match self.batch {
            Some(Batch::Write(_)) => Some("--write-batch"),
            Some(Batch::OnlyWrite(_)) if !self.server => Some("--only-write-batch"),
            Some(Batch::Read(_)) => Some("--read-batch"),
            _ => None,
        };
        let iconv = self.iconv.as_ref().map(|_| "--iconv");
        let copy_as = self.copy_as.as_ref().map(|_| "--copy-as");
        [batch, iconv, copy_as].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Iconv;

    #[test]
    fn options_without_effect_are_named() {
        assert!(TransferOptions::archive().unsupported().is_empty());
        let options = TransferOptions {
            iconv: Some(Iconv { local: ".".into(), remote: None }),
            batch: Some(Batch::Write("b".into())),
            ..TransferOptions::default()
        };
        assert_eq!(options.unsupported(), ["--write-batch", "--iconv"]);
    }
}
