//! `check-serving`: what the user of a web server could not read.

use std::ffi::CString;
use std::io::Write;

use nix::unistd::{Gid, Uid, User, getgrouplist};
use rsync_mirror::{ServingUser, Unreadable};

use crate::arguments::CheckServing;
use crate::say;

/// Looks at the tree; answers the exit code: 0 if all of it can be served, 23 if not.
pub(crate) fn check(arguments: &CheckServing) -> u8 {
    let Some(user) = user(&arguments.user) else {
        say(&format!("rsync-mirror: there is no user {}; name one by --user", arguments.user));
        return 1;
    };
    let mut count = 0_u64;
    let mut tell = |unreadable: Unreadable| {
        count += 1;
        let (path, reason) = (unreadable.path.display().to_string(), unreadable.reason.to_string());
        let line = match arguments.json {
            true => serde_json::json!({ "path": path, "reason": reason }).to_string(),
            false => format!("{path}: {reason}"),
        };
        // Whoever does not read on has read enough.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    };
    match user.check(&arguments.directory, &mut tell) {
        Err(error) => {
            say(&format!("rsync-mirror: {error}"));
            error.exit_code()
        }
        Ok(()) if count == 0 => 0,
        Ok(()) => {
            say(&format!("rsync-mirror: {count} of these cannot be served to {}", arguments.user));
            23
        }
    }
}

/// A user with all groups; one that is given as a number may be unknown to the system.
fn user(name: &str) -> Option<ServingUser> {
    let number = name.parse::<u32>().ok();
    let known = match number {
        Some(uid) => User::from_uid(Uid::from_raw(uid)).ok().flatten(),
        None => User::from_name(name).ok().flatten(),
    };
    let Some(known) = known else { return number.map(|uid| ServingUser { uid, gids: Vec::new() }) };
    let groups = CString::new(known.name).ok().and_then(|name| getgrouplist(&name, known.gid).ok());
    let gids = groups.unwrap_or_else(|| vec![known.gid]).into_iter().map(Gid::as_raw).collect();
    Some(ServingUser { uid: known.uid.as_raw(), gids })
}
