//! Options that are read and forwarded but that this version does not carry out yet.

use super::model::TransferOptions;

impl TransferOptions {
    /// The options in use that have no effect yet on a side that sends, receives or does both, as typed; a
    /// program refuses them with [`ExitCode::UNSUPPORTED`](crate::exit::ExitCode::UNSUPPORTED) rather
    /// than ignore them.
    #[must_use]
    pub fn unsupported(&self, sends: bool, receives: bool) -> Vec<&'static str> {
        let named = |on: bool, name| on.then_some(name);
        [
            named(self.iconv.is_some(), "--iconv"),
            named(self.copy_as.is_some(), "--copy-as"),
            named(!self.server && self.stop_at.is_some(), "--stop-at"),
            named(receives && self.write_devices, "--write-devices"),
            named(sends && self.copy_devices, "--copy-devices"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Iconv;

    #[test]
    fn options_without_effect_are_named() {
        assert!(TransferOptions::archive().unsupported(true, true).is_empty());
        let options = TransferOptions {
            iconv: Some(Iconv { local: ".".into(), remote: None }),
            copy_devices: true,
            ..TransferOptions::default()
        };
        assert_eq!(options.unsupported(false, true), ["--iconv"]);
        assert_eq!(options.unsupported(true, false), ["--iconv", "--copy-devices"]);
    }
}
