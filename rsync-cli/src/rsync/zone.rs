//! The present moment, here.

use jiff::Timestamp;
use jiff::tz::TimeZone;

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
