//! `early exec`, `pre-xfer exec`, `post-xfer exec` and `name converter`: commands of the operator, run with the daemon's own
//! rights by the process that listens (spec 09 §12).

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{self, ExitStatus, Stdio};
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice};
use rsync_proto::exit::ExitCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::config::{ExpansionOverflow, ModuleSettings, expand};
use crate::converter::Converter;
use crate::log::Log;
use crate::order::Visitor;
use crate::room::Room;

/// Whoever has this in the environment wants no hooks.
const OFF: &str = "RSYNC_NO_XFER_EXEC";
/// Most bytes of what `pre-xfer exec` says that its client is told.
const OUTPUT_LIMIT: u64 = 5119;

/// Why a command is not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HookError {
    #[error("refusing to run shell hook: %{0}% holds a shell metacharacter")]
    Unsafe(BString),
    #[error(transparent)]
    Overflow(#[from] ExpansionOverflow),
}

/// The commands of a module for one client.
#[derive(Clone, Debug)]
pub(crate) struct Hooks {
    early: Option<BString>,
    before: Option<BString>,
    after: Option<BString>,
    converter: Option<BString>,
    environment: Vec<(String, BString)>,
    /// Where they run.
    room: Arc<Room>,
}

impl Hooks {
    /// Those of `settings`, with the client's facts put into their texts; `pid` stands for the session.
    ///
    /// # Errors
    /// [`HookError::Unsafe`] when a fact could become more of the command than one word.
    pub(crate) fn new(
        settings: &ModuleSettings,
        visitor: &Visitor,
        path: &BStr,
        pid: u32,
        room: Arc<Room>,
    ) -> Result<Self, HookError> {
        let environment: Vec<(String, BString)> = [
            ("RSYNC_MODULE_NAME", visitor.module.clone()),
            ("RSYNC_MODULE_PATH", path.into()),
            ("RSYNC_HOST_ADDR", visitor.address.to_string().into()),
            ("RSYNC_HOST_NAME", visitor.host.as_str().into()),
            ("RSYNC_USER_NAME", visitor.user.clone()),
            ("RSYNC_PID", pid.to_string().into()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        let off = std::env::var_os(OFF).is_some();
        let command = |text: &Option<BString>| match text {
            Some(text) if !off => shell_text(text, &environment).map(Some),
            _ => Ok(None),
        };
        Ok(Self {
            early: command(&settings.early_exec)?,
            before: command(&settings.pre_xfer_exec)?,
            after: command(&settings.post_xfer_exec)?,
            converter: command(&settings.name_converter)?,
            environment,
            room,
        })
    }

    /// Runs `early exec`, which reads `input`; answers whether it went well.
    ///
    /// # Errors
    /// When it cannot be run.
    pub(crate) async fn early(&self, input: &[u8]) -> io::Result<bool> {
        let Some(text) = &self.early else { return Ok(true) };
        let mut command = Command::from(self.command(text));
        command.env("RSYNC_REQUEST", "(NONE)").stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
        let mut child = self.room.spawn(command).await?;
        if let Some(mut stdin) = child.stdin.take() {
            // It need not read all of it.
            let _ = stdin.write_all(input).await;
        }
        Ok(child.wait().await?.success())
    }

    /// Runs `pre-xfer exec` for a client that sent these words; answers what it is told if it must not go on.
    ///
    /// # Errors
    /// When it cannot be run.
    pub(crate) async fn before(&self, request: &BStr, words: &[BString]) -> io::Result<Option<BString>> {
        let Some(text) = &self.before else { return Ok(None) };
        let mut command = Command::from(self.command_about(text, request, words));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = self.room.spawn(command).await?;
        let mut output = Vec::new();
        if let Some(stdout) = &mut child.stdout {
            stdout.take(OUTPUT_LIMIT).read_to_end(&mut output).await?;
            // It may say more, to nobody.
            tokio::io::copy(stdout, &mut tokio::io::sink()).await?;
        }
        let status = child.wait().await?;
        Ok((!status.success()).then(|| failure(status, &output)))
    }

    /// Starts `name converter`, if there is one.
    ///
    /// # Errors
    /// When it cannot be run.
    pub(crate) async fn converter(
        &self,
        request: &BStr,
        words: &[BString],
        log: &Log,
    ) -> io::Result<Option<Converter>> {
        let Some(text) = &self.converter else { return Ok(None) };
        let (command, log) = (self.command_about(text, request, words), log.clone());
        self.room.run(move || Converter::start(command, log)).await?.map(Some)
    }

    /// Runs `post-xfer exec` for a session that ended with `code`; `None` if it was killed.
    pub(crate) async fn after(&self, code: Option<ExitCode>) {
        let Some(text) = &self.after else { return };
        let (code, raw) =
            code.map_or((-1, KILLED), |code| (i32::from(code.code()), i32::from(code.code()) << 8));
        let mut command = Command::from(self.command(text));
        command.env("RSYNC_EXIT_STATUS", code.to_string()).env("RSYNC_RAW_STATUS", raw.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if let Ok(mut child) = self.room.spawn(command).await {
            // Nobody cares how it ends.
            let _ = child.wait().await;
        }
    }

    /// Whether a session has to be told apart from others.
    pub(crate) fn are_there(settings: &ModuleSettings) -> bool {
        let commands = [
            &settings.early_exec,
            &settings.pre_xfer_exec,
            &settings.post_xfer_exec,
            &settings.name_converter,
        ];
        commands.iter().any(|text| text.is_some())
    }

    /// A command that learns what the client sent.
    fn command_about(&self, text: &BString, request: &BStr, words: &[BString]) -> process::Command {
        let mut command = self.command(text);
        command.env("RSYNC_REQUEST", std::ffi::OsStr::from_bytes(request)).env("RSYNC_ARG0", "rsyncd");
        for (index, word) in words.iter().enumerate() {
            command.env(format!("RSYNC_ARG{}", index + 1), std::ffi::OsStr::from_bytes(word));
        }
        command
    }

    fn command(&self, text: &BString) -> process::Command {
        let shell = std::env::var_os("RSYNC_SHELL").unwrap_or_else(|| "/bin/sh".into());
        let mut command = process::Command::new(shell);
        command.arg("-c").arg(std::ffi::OsStr::from_bytes(text));
        for (name, value) in &self.environment {
            command.env(name, std::ffi::OsStr::from_bytes(value));
        }
        command
    }
}

/// The wait status of a process that was killed, where nothing better is known.
const KILLED: i32 = 9;

/// The wait status of the process that waits for a hook that was killed.
const KILLED_HOOK: i32 = 1 << 8;

/// What a client is told of a failed `pre-xfer exec`: its wait status and its output.
fn failure(status: ExitStatus, output: &[u8]) -> BString {
    // The C daemon has a process in between, which ends with 1 when the hook is killed.
    let status = if status.signal().is_some() { KILLED_HOOK } else { status.into_raw() };
    let head = format!("pre-xfer exec returned failure ({status})");
    let output = output.replace("\r\n", "\n");
    let output = output.trim_end_with(|end| end == '\n');
    if output.is_empty() { head.into() } else { [head.as_bytes(), b":\n", output].concat().into() }
}

/// Puts the values of `%NAME%` into a command. One that the client could have chosen is a word of its own.
fn shell_text(text: &[u8], environment: &[(String, BString)]) -> Result<BString, HookError> {
    let mut out = Vec::new();
    let mut in_single_quotes = false;
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let name = (byte == b'%').then(|| tail.split_once_str("%")).flatten();
        let known = name.and_then(|(name, after)| {
            let (_, value) = environment.iter().find(|(known, _)| known.as_bytes() == name)?;
            Some((name, value, after))
        });
        if let Some((name, value, after)) = known {
            if value.iter().any(is_meta) {
                return Err(HookError::Unsafe(name.into()));
            }
            let quote: &[u8] = if in_single_quotes { b"" } else { b"'" };
            out.extend([quote, value, quote].concat());
            rest = after;
            continue;
        }
        in_single_quotes ^= byte == b'\'';
        out.push(byte);
        rest = tail;
    }
    // What is left are variables of the daemon's own environment.
    let own = |name: &str| if name.starts_with("RSYNC_") { None } else { crate::visit::environment(name) };
    Ok(expand(&out, &own)?)
}

/// Whether a shell could take a byte for more than itself.
fn is_meta(byte: &u8) -> bool {
    *byte < 0x20 || *byte == 0x7f || b"'\"`$\\;&|<>()*?[]#!~{} ".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(text: &str, module: &str) -> Result<BString, HookError> {
        shell_text(text.as_bytes(), &[("RSYNC_MODULE_NAME".into(), module.into())])
    }

    #[test]
    fn what_a_client_chose_is_one_word() {
        for (text, module, expected) in [
            ("log %RSYNC_MODULE_NAME%", "pub", "log 'pub'"),
            ("log '%RSYNC_MODULE_NAME%'", "pub", "log 'pub'"),
            ("log 'a' %RSYNC_MODULE_NAME% 'b'", "pub", "log 'a' 'pub' 'b'"),
            ("date +%Y%M%D %RSYNC_OTHER%", "pub", "date +%Y%M%D %RSYNC_OTHER%"),
        ] {
            assert_eq!(shell(text, module), Ok(expected.into()), "{text}");
        }
        for module in ["a b", "$(id)", "a;b", "a'b", "a\nb", "~"] {
            let error = shell("x %RSYNC_MODULE_NAME%", module).expect_err(module);
            assert_eq!(
                error.to_string(),
                "refusing to run shell hook: %RSYNC_MODULE_NAME% holds a shell metacharacter"
            );
            assert!(shell("x $RSYNC_MODULE_NAME", module).is_ok(), "the environment is safe");
        }
    }

    #[test]
    fn a_failure_tells_the_raw_status_and_the_output() {
        let status = ExitStatus::from_raw(768);
        assert_eq!(failure(status, b""), "pre-xfer exec returned failure (768)");
        assert_eq!(failure(ExitStatus::from_raw(9), b""), "pre-xfer exec returned failure (256)");
        assert_eq!(failure(status, b"no\r\nway\n"), "pre-xfer exec returned failure (768):\nno\nway");
    }
}
