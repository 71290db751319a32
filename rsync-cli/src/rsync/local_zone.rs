//! The time zone of a daemon's log.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rsync_proto::text::Zone;

/// The local zone, read once.
pub(crate) struct LocalZone(TimeZone);

impl LocalZone {
    pub(crate) fn new() -> Self {
        Self(TimeZone::system())
    }
}

impl Zone for LocalZone {
    fn offset(&self, unix: i64) -> i32 {
        Timestamp::from_second(unix).map_or(0, |moment| self.0.to_offset(moment).seconds())
    }
}
