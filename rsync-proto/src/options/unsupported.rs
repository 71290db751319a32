//! Options that are read and forwarded but that this version does not carry out yet.

use super::model::TransferOptions;

impl TransferOptions {
    /// The options in use that have no effect yet, as typed; a
    /// program refuses them with [`ExitCode::UNSUPPORTED`](crate::exit::ExitCode::UNSUPPORTED) rather
    /// than ignore them.
    #[must_use]
    pub fn unsupported(&self) -> Vec<&'static str> {
        let named = |on: bool, name| on.then_some(name);
        [named(self.iconv.is_some(), "--iconv")].into_iter().flatten().collect()
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
            ..TransferOptions::default()
        };
        assert_eq!(options.unsupported(), ["--iconv"]);
    }
}
