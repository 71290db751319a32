//! The present moment and the local time zone (`TZ`, else the system's).

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rsync_proto::text::Zone;

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_second()
}

/// Seconds east of Greenwich at a moment.
pub(crate) fn offset_at(unix: i64) -> i32 {
    let moment = Timestamp::from_second(unix).unwrap_or(Timestamp::UNIX_EPOCH);
    TimeZone::system().to_offset(moment).seconds()
}

/// Hour, minute and second of the present moment here.
pub(crate) fn clock_time() -> String {
    let now = Timestamp::now().to_zoned(TimeZone::system());
    format!("{:02}:{:02}:{:02}", now.hour(), now.minute(), now.second())
}

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
