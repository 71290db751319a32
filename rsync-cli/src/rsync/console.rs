//! Prints events: standard output, standard error and the log file of a client (spec 07 §15 to §21).

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bstr::BString;
use rsync_client::Module;
use rsync_engine::{Dir, open_operator_log};
use rsync_proto::exit::ExitCode;
use rsync_proto::options::{Batch, Info, OutputBuffer, StderrMode, TransferOptions};
use rsync_proto::text::{
    Charset, Event, EventSink, Human, LineContext, LineFormat, ListStyle, Numbers, ProgressLine, Role,
    RunMode, Severity, Stage, Topic, Totals, escape_message, file_list_count, file_list_end, file_list_start,
    log_line,
};

use crate::bar::Bar;
use crate::local_zone::LocalZone;
use crate::zone;

/// Bytes of standard output kept back when it is no terminal.
const BUFFER: usize = 8192;

/// Takes what a run has to say, from its first event to its exit code.
pub(crate) trait Output: EventSink {
    /// Prints a text of the program itself, without its line feed.
    fn say(&self, severity: Severity, text: &str);

    /// Takes the modules of a daemon; its own lines, which name them, were events.
    fn modules(&self, modules: &[Module]);

    /// Ends the output; `line` says why the program fails.
    fn end(&self, code: ExitCode, line: Option<&str>);
}

/// How the client was asked to print.
pub(crate) struct Console {
    options: TransferOptions,
    role: Role,
    format: Option<LineFormat>,
    /// None without a log file, and where the format of its item lines is empty.
    log_format: Option<LineFormat>,
    /// Stands for a format that was not given.
    plain_format: LineFormat,
    logs: bool,
    numbers: Numbers,
    charset: Charset,
    zone: LocalZone,
    started: Instant,
    state: Mutex<State>,
}

struct State {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    output: Vec<u8>,
    limit: usize,
    log: Option<File>,
    progress: Option<ProgressLine>,
    bar: Option<Bar>,
    /// A line of standard output that something else must end first.
    open_line: bool,
    /// The head of a list that is not incremental was printed, its end not yet.
    list_begun: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Error,
}

impl Console {
    /// Prints to standard output and error as `options` say; `role` is what item lines show as `%o`.
    pub(crate) fn new(options: &TransferOptions, role: Role, log: Option<File>) -> Self {
        Self::with_streams(options, role, log, Box::new(std::io::stdout()), Box::new(std::io::stderr()))
    }

    /// Writes to a log file alone, as a server does whose client talks to the user: every item that its own
    /// format shows.
    pub(crate) fn logging(options: &TransferOptions, role: Role, log: File) -> Self {
        let format = options.log_file_format.clone().unwrap_or_else(|| "%i %n%L".into());
        let options = &TransferOptions { quiet: true, out_format: Some(format), ..options.clone() };
        Self::with_streams(options, role, Some(log), Box::new(std::io::sink()), Box::new(std::io::sink()))
    }

    fn with_streams(
        options: &TransferOptions,
        role: Role,
        log: Option<File>,
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
    ) -> Self {
        let numbers = Numbers::new(Human::from_level(options.human_readable));
        let per_file = options.info.level(Info::Progress);
        let log_format = options.log_file_format.as_ref().map_or(&b"%i %n%L"[..], |format| format.as_slice());
        Self {
            role,
            format: LineFormat::effective(
                options.out_format.as_ref().map(|format| format.as_slice()),
                options.itemize,
                options.info.level(Info::Name),
            ),
            log_format: (log.is_some() && !log_format.is_empty()).then(|| LineFormat::parse(log_format)),
            plain_format: LineFormat::parse(b""),
            logs: log.is_some(),
            numbers,
            charset: charset(options.eight_bit_output),
            zone: LocalZone::new(),
            started: Instant::now(),
            state: Mutex::new(State {
                out,
                err,
                output: Vec::new(),
                limit: buffer_limit(options.outbuf),
                log,
                bar: (options.progress_bar && !options.quiet).then(Bar::on_terminal).flatten(),
                progress: (per_file > 0).then(|| ProgressLine::new(numbers, per_file > 1)),
                open_line: false,
                list_begun: false,
            }),
            options: options.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints and logs one text, unescaped, whose line feed is included.
    fn text(&self, state: &mut State, severity: Severity, text: &[u8]) {
        if severity != Severity::Client {
            self.log(state, text);
        }
        let stream = match severity {
            Severity::Log => return,
            Severity::Info | Severity::Client if self.options.quiet => return,
            Severity::Info | Severity::Client => self.plain_stream(),
            _ => Stream::Error,
        };
        state.end_line(stream);
        let mut escaped = Vec::with_capacity(text.len());
        escape_message(text, self.charset, &mut escaped);
        state.write(stream, &escaped);
    }

    /// Where texts go that are no errors.
    fn plain_stream(&self) -> Stream {
        if self.options.stderr == StderrMode::All { Stream::Error } else { Stream::Out }
    }

    /// Prints and logs a text of several lines.
    fn lines(&self, state: &mut State, severity: Severity, text: &str) {
        text.split_inclusive('\n').for_each(|line| self.text(state, severity, line.as_bytes()));
    }

    /// Logs one text; a line feed in a name does not begin another line.
    fn log(&self, state: &mut State, text: &[u8]) {
        let Some(log) = &mut state.log else { return };
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        if text.is_empty() {
            return;
        }
        let mut line = Vec::new();
        log_line(zone::now(), &self.zone, std::process::id(), text, &mut line);
        // Nobody could be told that the log cannot be written.
        let _ = log.write_all(&line);
    }

    fn context(&self) -> LineContext<'_> {
        LineContext {
            role: self.role,
            keeps_times: self.options.times,
            digest_len: digest_len(&self.options),
            now: zone::now(),
            zone: &self.zone,
            pid: std::process::id(),
            module: None,
        }
    }

    fn item(&self, stage: Stage, item: &rsync_proto::text::Item<'_>) {
        let transfers = item.flags.contains(rsync_proto::phase::ItemFlags::TRANSFER);
        let mut state = self.lock();
        let mut line = Vec::new();
        // What the client's own format leaves out is not logged either.
        let (itemize, name_level) = (self.options.itemize, self.options.info.level(Info::Name));
        let format = self.format.as_ref().unwrap_or(&self.plain_format);
        let shown = format.shows_item(item, itemize, name_level);
        if let Some(format) = &self.format {
            let due = if transfers { format.transfer_stage() } else { Stage::Done };
            if stage == due && shown {
                format.render_item(item, &self.context(), &mut line);
                line.push(b'\n');
                self.print_only(&mut state, &line);
            } else if transfers && stage == Stage::Begins && state.progress.is_some() {
                line.extend_from_slice(item.entry.name);
                line.push(b'\n');
                self.print_only(&mut state, &line);
            }
        }
        let logged = shown && stage == Stage::Done && !(transfers && self.options.dry_run);
        if let Some(format) = self.log_format.as_ref().filter(|_| logged) {
            line.clear();
            format.render_item(item, &self.context(), &mut line);
            self.log(&mut state, &line);
        }
    }

    fn prints_deletions(&self) -> bool {
        self.options.info.at_least(Info::Del, 1) || self.format.is_some()
    }

    fn deletion(&self, name: &[u8], is_dir: bool) {
        let mut state = self.lock();
        let mut line = Vec::new();
        if self.prints_deletions() {
            let format = self.format.as_ref().unwrap_or(&self.plain_format);
            format.render_deletion(name, is_dir, &self.context(), &mut line);
            line.push(b'\n');
            self.print_only(&mut state, &line);
        }
        if self.logs && !self.options.dry_run {
            line.clear();
            let format = self.log_format.as_ref().unwrap_or(&self.plain_format);
            format.render_deletion(name, is_dir, &self.context(), &mut line);
            self.log(&mut state, &line);
        }
    }

    /// Standard output without the log file.
    fn print_only(&self, state: &mut State, line: &[u8]) {
        self.text(state, Severity::Client, line);
    }

    fn listed(&self, entry: &rsync_proto::text::EntryFacts<'_>) {
        let style = ListStyle {
            numbers: self.numbers,
            zone: &self.zone,
            atimes: self.options.atimes > 0,
            crtimes: self.options.crtimes,
        };
        let mut line = Vec::new();
        style.render(entry, &mut line);
        line.push(b'\n');
        self.text(&mut self.lock(), Severity::Info, &line);
    }

    fn finished(&self, totals: &Totals) {
        // The C rsync counts the bytes of lists that come, not of those that it sends.
        let list_size = if self.role == Role::Sender { 0 } else { totals.list_size };
        let totals = &Totals { list_size, ..*totals };
        let stats = self.options.info.level(Info::Stats);
        let mode = match (&self.options.batch, self.options.dry_run) {
            (Some(Batch::OnlyWrite(_)), _) => RunMode::BatchOnly,
            (_, true) => RunMode::DryRun,
            _ => RunMode::Normal,
        };
        let mut state = self.lock();
        state.end_bar();
        if stats > 1 {
            self.lines(&mut state, Severity::Info, &totals.statistics(&self.numbers));
        }
        if stats > 0 {
            self.lines(&mut state, Severity::Info, &totals.summary(&self.numbers, mode));
        } else {
            let line = totals.log_line();
            self.log(&mut state, line.as_bytes());
        }
    }

    fn list_head(&self, text: &str) {
        let mut state = self.lock();
        if self.options.quiet || self.options.info.level(Info::Flist) == 0 {
            return;
        }
        state.write(self.plain_stream(), text.as_bytes());
        if !text.ends_with('\n') {
            state.list_begun = true;
            state.open_line = true;
            state.flush();
        }
    }

    fn list_count(&self, entries: u64) {
        let mut state = self.lock();
        if state.list_begun && self.options.info.at_least(Info::Flist, 2) {
            state.end_line(Stream::Out);
            state.write(self.plain_stream(), file_list_count(entries).as_bytes());
            state.flush();
        }
    }

    fn list_end(&self, entries: u64) {
        let mut state = self.lock();
        if std::mem::take(&mut state.list_begun) {
            let counted = self.options.info.at_least(Info::Flist, 2);
            state.open_line = false;
            let end = file_list_end(entries, counted);
            self.log(&mut state, end.as_bytes());
            state.write(self.plain_stream(), end.as_bytes());
        }
    }
}

impl Output for Console {
    fn say(&self, severity: Severity, text: &str) {
        self.lines(&mut self.lock(), severity, &format!("{text}\n"));
    }

    fn modules(&self, _: &[Module]) {}

    fn end(&self, _: ExitCode, line: Option<&str>) {
        let mut state = self.lock();
        state.end_line(Stream::Out);
        state.flush();
        state.end_bar();
        if let Some(line) = line {
            self.lines(&mut state, Severity::Error, &format!("{line}\n"));
        }
    }
}

impl EventSink for Console {
    fn wants(&self, topic: Topic) -> bool {
        let info = &self.options.info;
        let itemizes = self.format.as_ref().is_some_and(|format| format.uses(b'i'));
        match topic {
            Topic::Always => true,
            Topic::Info(word, level) => info.at_least(word, level),
            Topic::Debug(word, level) => self.options.debug.at_least(word, level),
            Topic::NamesOrItems => info.at_least(Info::Name, 1) || itemizes,
            Topic::UnchangedNames => info.at_least(Info::Name, 2) && !itemizes,
            Topic::Deletions => self.prints_deletions() || self.logs,
            Topic::Items => self.format.is_some() || self.log_format.is_some(),
            Topic::Progress => info.at_least(Info::Progress, 1) || self.options.progress_bar,
        }
    }

    fn emit(&self, event: Event<'_>) {
        match event {
            Event::Message(message) => {
                let mut text = Vec::new();
                message.render(&mut text);
                text.push(b'\n');
                self.text(&mut self.lock(), message.severity(), &text);
            }
            Event::PeerText { severity, text } => self.text(&mut self.lock(), severity, text),
            Event::Item { stage, item } => self.item(stage, item),
            Event::Deleted { name, is_dir } => self.deletion(name, is_dir),
            Event::Listed { entry } => self.listed(entry),
            Event::FileListStarted { sending, incremental, directories } => {
                let line: &[u8] = if sending { b"building file list" } else { b"receiving file list" };
                self.log(&mut self.lock(), line);
                if let Some(text) = file_list_start(sending, incremental, directories) {
                    self.list_head(text);
                }
            }
            Event::FileListGrown { entries } => self.list_count(entries),
            Event::FileListFinished { entries } => self.list_end(entries),
            Event::Progress(progress) => {
                let mut state = self.lock();
                if let Some(bar) = &mut state.bar {
                    bar.update(&progress);
                }
                let now = self.started.elapsed();
                let mut bytes = Vec::new();
                if let Some(line) = &mut state.progress {
                    line.update(&progress, now, &mut bytes);
                }
                if !bytes.is_empty() && !self.options.quiet {
                    state.write(Stream::Out, &bytes);
                    state.flush();
                }
            }
            Event::Finished(totals) => self.finished(totals),
            _ => {}
        }
    }
}

impl State {
    /// Ends a line that is not finished, on the stream of what comes next.
    fn end_line(&mut self, next: Stream) {
        let mut bytes = Vec::new();
        if let Some(progress) = &mut self.progress {
            progress.end_line(&mut bytes);
        }
        if std::mem::take(&mut self.open_line) {
            bytes.push(b'\n');
        }
        if !bytes.is_empty() {
            self.write(next, &bytes);
        }
    }

    fn end_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }

    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        match stream {
            Stream::Out => {
                self.output.extend_from_slice(bytes);
                if self.output.len() > self.limit {
                    self.flush();
                }
            }
            Stream::Error => {
                self.flush();
                let err = &mut self.err;
                // Nobody could be told that standard error cannot be written.
                let _ = above(self.bar.as_ref(), || err.write_all(bytes));
            }
        }
    }

    fn flush(&mut self) {
        if self.output.is_empty() {
            return;
        }
        let (out, output) = (&mut self.out, &self.output);
        // A reader that went away stops the output, not the transfer.
        let _ = above(self.bar.as_ref(), || out.write_all(output).and_then(|()| out.flush()));
        self.output.clear();
    }
}

/// Prints with the live line out of the way.
fn above<T>(bar: Option<&Bar>, print: impl FnOnce() -> T) -> T {
    match bar {
        Some(bar) => bar.above(print),
        None => print(),
    }
}

/// Opens the log file of a client or a server, as `role` says.
///
/// # Errors
/// The line to print when that fails; the transfer goes on without a log.
pub(crate) fn open_log(path: &BString, insecure_links: bool, role: Role) -> Result<File, String> {
    let here = Dir::open(std::path::Path::new("."));
    here.and_then(|here| open_operator_log(&here, path, insecure_links)).map_err(|error| {
        let reason = match error.raw_os_error() {
            Some(errno) => rsync_proto::text::failure::describe_errno(errno),
            None => error.to_string(),
        };
        format!("rsync: [{}] failed to open log-file {path}: {reason}", role.name())
    })
}

fn buffer_limit(asked: Option<OutputBuffer>) -> usize {
    match asked {
        Some(OutputBuffer::None | OutputBuffer::Line) => 0,
        Some(OutputBuffer::Full) => BUFFER,
        None if std::io::stdout().is_terminal() => 0,
        None => BUFFER,
    }
}

/// What the terminal can show, as the locale says.
pub(crate) fn charset(eight_bit: bool) -> Charset {
    if eight_bit {
        return Charset::Raw;
    }
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(crate::variable)
        .find(|value| !value.is_empty())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let utf8 =
        [&b"utf-8"[..], b"utf8"].into_iter().any(|name| locale.windows(name.len()).any(|part| part == name));
    if utf8 { Charset::Utf8 } else { Charset::Ascii }
}

/// Length of the digest that `%C` shows.
fn digest_len(options: &TransferOptions) -> usize {
    match options.checksum_choice.as_ref().map(|names| names.transfer.as_str()) {
        Some("none") => 1,
        Some("xxh64" | "xxhash" | "xxh3") => 8,
        Some("sha1") => 20,
        _ => 16,
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use rsync_proto::options::{Command, Environment, parse};
    use rsync_proto::phase::ItemFlags;
    use rsync_proto::text::{Direction, EntryFacts, Item, Message};

    use super::*;

    /// Both streams in the order of their writes; standard error is marked with `!`.
    #[derive(Clone, Default)]
    struct Tape(Arc<Mutex<Vec<u8>>>);

    struct Marked(Tape, &'static str);

    impl Write for Marked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !bytes.is_empty() {
                let mut tape = self.0.0.lock().expect("not poisoned");
                tape.extend_from_slice(self.1.as_bytes());
                tape.extend_from_slice(bytes);
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(line: &str, log: Option<File>, play: impl Fn(&Console)) -> String {
        let words: Vec<BString> = format!("{line} a b").split(' ').map(BString::from).collect();
        let Ok(Command::Transfer(request)) = parse(&words, &Environment::default()) else { panic!("{line}") };
        let tape = Tape::default();
        let out = Box::new(Marked(tape.clone(), ""));
        let err = Box::new(Marked(tape.clone(), "!"));
        let console = Console::with_streams(&request.options, Role::Receiver, log, out, err);
        play(&console);
        console.end(ExitCode::OK, None);
        let tape = tape.0.lock().expect("not poisoned");
        String::from_utf8_lossy(&tape).into_owned()
    }

    fn emit_item(console: &Console, flags: u16, stage: Stage) {
        let entry = EntryFacts {
            name: b"d/f",
            source_dir: b"",
            mode: 0o100_644,
            size: 3,
            mtime: 0,
            atime: None,
            crtime: None,
            uid: 0,
            gid: None,
            target: None,
        };
        let item = Item {
            flags: ItemFlags::from_bits(flags),
            detailed: true,
            xname: None,
            direction: Direction::Received,
            entry,
            data_bytes: 3,
            sum_bytes: 0,
            digest: None,
        };
        console.emit(Event::Item { stage, item: &item });
    }

    const NEW_FILE: u16 = 0xa000;

    fn transfer(console: &Console) {
        emit_item(console, NEW_FILE, Stage::Begins);
        emit_item(console, NEW_FILE, Stage::Done);
    }

    #[test]
    fn a_transfer_is_printed_once_in_the_format_asked_for() {
        assert_eq!(printed("-v", None, transfer), "d/f\n");
        assert_eq!(printed("-i", None, transfer), ">f+++++++++ d/f\n");
        assert_eq!(printed("--out-format=%b-%o", None, transfer), "3-recv\n");
        assert_eq!(printed("-vq", None, transfer), "");
        assert_eq!(printed("--stats", None, transfer), "");
    }

    #[test]
    fn an_unfinished_line_is_ended_on_the_stream_of_the_next_text() {
        let play = |console: &Console| {
            console.emit(Event::FileListStarted { sending: true, incremental: false, directories: true });
            console.say(Severity::Error, "oops");
            console.emit(Event::FileListFinished { entries: 1 });
        };
        assert_eq!(printed("-v", None, play), "building file list ... !\n!oops\ndone\n");
        assert_eq!(printed("-q", None, play), "!oops\n");
    }

    #[test]
    fn all_texts_go_to_standard_error_on_demand() {
        let play = |console: &Console| console.emit(Event::Message(Message::CreatedDirectory(b"d")));
        assert_eq!(printed("-v", None, play), "created directory d\n");
        assert_eq!(printed("-v --stderr=all", None, play), "!created directory d\n");
    }

    #[test]
    fn the_log_file_has_its_own_format_and_no_client_texts() {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let opened =
            open_log(&BString::from(log.path().to_str().expect("text")), false, Role::Client).expect("opens");
        let shown = printed("-v", Some(opened), |console| {
            transfer(console);
            console.emit(Event::Deleted { name: b"old", is_dir: false });
        });
        assert_eq!(shown, "d/f\ndeleting old\n");
        let lines = std::fs::read_to_string(log.path()).expect("text");
        let texts: Vec<&str> = lines.lines().map(|line| line.split_once("] ").expect("a head").1).collect();
        assert_eq!(texts, [">f+++++++++ d/f", "*deleting   old"]);
    }

    #[test]
    fn a_log_file_that_cannot_be_opened_is_reported() {
        let error = open_log(&"/nonexistent/log".into(), false, Role::Client).expect_err("cannot open");
        let expected =
            "rsync: [client] failed to open log-file /nonexistent/log: No such file or directory (2)";
        assert_eq!(error, expected);
    }
}
