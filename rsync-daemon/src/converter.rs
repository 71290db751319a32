//! `name converter`: a program of the operator that knows users and groups (spec 09 §13).
//!
//! It answers one line for each line that it is asked, as long as its session lasts.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bstr::{BString, ByteSlice};
use rsync_engine::{LinkControl, OwnerIds};
use rsync_proto::flist::OwnerNames;

use crate::log::Log;

/// Longest line of a question and of an answer, in bytes.
const LINE_LIMIT: usize = 1023;

/// What a session may ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// The name of a user.
    User(u32),
    /// The name of a group.
    Group(u32),
    /// The id of a user.
    UserId(BString),
    /// The id of a group.
    GroupId(BString),
}

impl Question {
    /// The line to send; `None` for a name that is no line.
    fn line(&self) -> Option<Vec<u8>> {
        let (kind, subject): (&[u8], BString) = match self {
            Self::User(id) => (b"uid ", id.to_string().into()),
            Self::Group(id) => (b"gid ", id.to_string().into()),
            Self::UserId(name) => (b"usr ", name.clone()),
            Self::GroupId(name) => (b"grp ", name.clone()),
        };
        let line = [kind, &subject, b"\n"].concat();
        let is_line = line.len() <= LINE_LIMIT && !subject.iter().any(u8::is_ascii_control);
        is_line.then_some(line)
    }
}

/// The program is gone, or says what is no answer.
#[derive(Debug, thiserror::Error)]
#[error("Connection to name-converter failed.")]
pub(crate) struct ConverterLost;

/// A converter that runs; it ends with its last handle, or when it is told to.
#[derive(Clone)]
pub(crate) struct Converter(Arc<Running>);

struct Running {
    child: Mutex<Child>,
    lines: Mutex<Lines>,
    log: Log,
}

struct Lines {
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Converter {
    /// Starts the command of a converter.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn start(mut command: Command, log: Log) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (Some(questions), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let lines = Mutex::new(Lines { questions, answers: BufReader::new(answers) });
        Ok(Self(Arc::new(Running { child: Mutex::new(child), lines, log })))
    }

    /// Asks and waits for the answer; `None` is unknown.
    ///
    /// # Errors
    /// [`ConverterLost`] when there is no answer.
    pub(crate) fn ask(&self, question: &Question) -> Result<Option<BString>, ConverterLost> {
        let Some(line) = question.line() else {
            if let Question::UserId(name) | Question::GroupId(name) = question {
                self.0.log.warning([b"invalid name-converter token: ", name.as_slice()].concat());
            }
            return Ok(None);
        };
        let mut lines = lock(&self.0.lines);
        lines.questions.write_all(&line).map_err(|_| ConverterLost)?;
        let mut answer = Vec::new();
        let limit = LINE_LIMIT as u64 + 1;
        (&mut lines.answers).take(limit).read_until(b'\n', &mut answer).map_err(|_| ConverterLost)?;
        let answer = answer.strip_suffix(b"\n").ok_or(ConverterLost)?;
        let answer = answer.strip_suffix(b"\r").unwrap_or(answer);
        Ok(Some(BString::from(answer)).filter(|answer| !answer.is_empty()))
    }

    /// The same for an id; what is no number is unknown.
    ///
    /// # Errors
    /// [`ConverterLost`] when there is no answer.
    pub(crate) fn ask_id(&self, question: &Question) -> Result<Option<u32>, ConverterLost> {
        let number = |answer: BString| {
            answer.iter().all(u8::is_ascii_digit).then(|| answer.to_str().ok()?.parse().ok())?
        };
        Ok(self.ask(question)?.and_then(number))
    }

    /// Ends it, also while somebody waits for its answer.
    pub(crate) fn end(&self) {
        self.0.end();
    }

    /// For a session in this process, which ends with the converter.
    pub(crate) fn for_session(&self, control: LinkControl) -> ConvertedOwners {
        ConvertedOwners { converter: self.clone(), control }
    }
}

impl Running {
    fn end(&self) {
        let mut child = lock(&self.child);
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Names and ids of a session in this process.
#[derive(Clone)]
pub(crate) struct ConvertedOwners {
    converter: Converter,
    control: LinkControl,
}

impl ConvertedOwners {
    fn found<T>(&self, answer: Result<Option<T>, ConverterLost>) -> Option<T> {
        answer.unwrap_or_else(|error| {
            self.converter.0.log.warning(error.to_string());
            self.control.abort();
            None
        })
    }
}

impl OwnerNames for ConvertedOwners {
    fn user(&mut self, uid: u32) -> Option<Vec<u8>> {
        self.found(self.converter.ask(&Question::User(uid))).map(Vec::from)
    }

    fn group(&mut self, gid: u32) -> Option<Vec<u8>> {
        self.found(self.converter.ask(&Question::Group(gid))).map(Vec::from)
    }
}

impl OwnerIds for ConvertedOwners {
    fn user(&self, name: &[u8]) -> Option<u32> {
        self.found(self.converter.ask_id(&Question::UserId(name.into())))
    }

    fn group(&self, name: &[u8]) -> Option<u32> {
        self.found(self.converter.ask_id(&Question::GroupId(name.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{LogTarget, Style};
    use rsync_proto::text::Utc;

    fn converter(script: &str) -> Converter {
        let log = Log::new(LogTarget::Nothing, Arc::new(Utc), Style::Text).expect("a log");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Converter::start(command, log).expect("started")
    }

    #[test]
    fn answers_are_lines_and_ids_are_numbers() {
        let script = "while read kind what; do case $kind:$what in \
                      uid:7) echo seven;; usr:six) echo 6;; usr:odd) echo 6x;; usr:big) echo 4294967296;; \
                      *) echo;; esac; done";
        let converter = converter(script);
        let name = |question| converter.ask(&question).expect("an answer");
        let id = |name: &str| converter.ask_id(&Question::UserId(name.into())).expect("an answer");
        assert_eq!((name(Question::User(7)), name(Question::Group(7))), (Some("seven".into()), None));
        assert_eq!((id("six"), id("odd"), id("big"), id("none")), (Some(6), None, None, None));
        assert_eq!((id("a\nuid 7"), id("six\x01"), id(&"x".repeat(1024))), (None, None, None));
        assert_eq!(id("six"), Some(6), "what is no line was not asked");
    }

    #[test]
    fn without_a_converter_there_is_no_answer() {
        for script in ["exit 0", "read line; exit 0", "read line; printf 6; exit 0"] {
            assert!(converter(script).ask(&Question::User(1)).is_err(), "{script}");
        }
    }

    #[test]
    fn one_that_does_not_answer_can_be_ended() {
        let converter = converter("exec sleep 600");
        let asking = {
            let converter = converter.clone();
            std::thread::spawn(move || converter.ask(&Question::User(1)).is_err())
        };
        converter.end();
        assert!(asking.join().expect("ended"));
    }
}
